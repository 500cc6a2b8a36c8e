# The functions of nixpkgs' lib that the flake calls, and its module system as far as the modules use it:
# options with defaults, mkIf, and the merging of sets and lists.
let
  inherit (builtins)
    all
    attrNames
    attrValues
    concatLists
    concatMap
    filter
    hasAttr
    head
    isAttrs
    isFunction
    isList
    length
    listToAttrs
    map
    stringLength
    substring
    ;

  hasSuffix =
    suffix: text:
    let
      from = stringLength text - stringLength suffix;
    in
    from >= 0 && substring from (stringLength suffix) text == suffix;

  unique =
    names:
    attrNames (
      listToAttrs (
        map (name: {
          inherit name;
          value = null;
        }) names
      )
    );

  isOption = option: isAttrs option && option._type or "" == "option";
  isMarked = type: value: isAttrs value && value._type or "" == type;

  # A definition is a value, and whether it holds.
  peeled =
    definition:
    if isMarked "if" definition.value then
      peeled (
        definition
        // {
          holds = definition.holds && definition.value.condition;
          value = definition.value.content;
        }
      )
    else
      definition;

  isTree = value: isAttrs value && value.type or "" != "derivation" && !(value ? outPath);

  merged =
    option: given:
    let
      definitions = map peeled given;
      holding = filter (definition: definition.holds) definitions;
      counting = map (definition: definition.value) holding;
    in
    # Which names there are does not depend on what holds: else a condition would depend on itself.
    if !isOption option && (definitions == [ ] || isTree (head definitions).value) then
      tree (if isAttrs option then option else { }) definitions
    else if counting == [ ] then
      option.default or null
    else if all isList counting then
      concatLists counting
    else if all isTree counting then
      tree { } holding
    else if length counting == 1 then
      head counting
    else
      throw "more than one definition: ${builtins.toJSON counting}";

  tree =
    options: definitions:
    listToAttrs (
      map (name: {
        inherit name;
        value = merged (options.${name} or null) (
          concatMap (
            definition:
            if hasAttr name definition.value then
              [ (definition // { value = definition.value.${name}; }) ]
            else
              [ ]
          ) definitions
        );
      }) (unique (attrNames options ++ concatMap (definition: attrNames definition.value) definitions))
    );

  evalModules =
    { modules, specialArgs ? { } }:
    let
      loaded = map (
        module:
        let
          value = if isFunction module then module ({ inherit config lib; } // specialArgs) else module;
        in
        if value ? config || value ? options then value else { config = value; }
      ) modules;
      options = tree { } (
        map (module: {
          value = module.options or { };
          holds = true;
        }) loaded
      );
      config = tree options (
        map (module: peeled {
          value = module.config or { };
          holds = true;
        }) loaded
      );
    in
    {
      inherit config options;
    };

  lib = {
    inherit
      attrValues
      concatLists
      evalModules
      filter
      hasSuffix
      listToAttrs
      ;
    removeSuffix =
      suffix: text:
      if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;
    genAttrs =
      names: make:
      listToAttrs (
        map (name: {
          inherit name;
          value = make name;
        }) names
      );
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    importTOML = path: builtins.fromTOML (builtins.readFile path);
    cleanSource = path: path;
    cleanSourceWith = { src, filter }: builtins.filterSource filter src;

    mkOption = option: option // { _type = "option"; };
    mkEnableOption =
      description:
      lib.mkOption {
        default = false;
        inherit description;
      };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    # Nothing here has two definitions.
    mkForce = content: content;
    types = {
      package = "package";
      str = "string";
      listOf = of: "list of ${of}";
    };

    licenses = {
      mit = "MIT";
      asl20 = "Apache-2.0";
    };
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];
  };
in
lib
