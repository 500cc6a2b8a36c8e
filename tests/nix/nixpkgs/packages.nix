# Packages that are the machine's own: they need a builder without a sandbox.
{ lib, system }:
let
  # The crates that Cargo.lock names, as `cargo vendor` laid them out.
  vendored = "/usr/src/forge-vendor";

  run =
    name: variables: script:
    derivation (
      {
        inherit name system;
        builder = "/bin/bash";
        args = [
          "-euc"
          ''
            export PATH=/usr/bin:/bin HOME=$TMPDIR
            runHook() { :; }
            patchShebangs() { :; }
            ${script}
            # Nix kills a builder whose output is at its end. A program in the shell's place, as the last
            # of its commands would be, may close it before it ends.
            :
          ''
        ];
      }
      // variables
    );

  here = name: run name { } "mkdir -p $out/bin; ln -s /usr/bin/${name} $out/bin/${name}";

  # TOML takes JSON for strings, numbers, booleans and lists; a table has its name in front.
  toml =
    path: value:
    let
      names = builtins.attrNames value;
      isTable = name: builtins.isAttrs value.${name};
      below = name: path ++ [ (builtins.toJSON name) ];
    in
    builtins.concatStringsSep "" (
      map (name: "${builtins.toJSON name} = ${builtins.toJSON value.${name}}\n") (
        builtins.filter (name: !isTable name) names
      )
      ++ map (name: ''
        [${builtins.concatStringsSep "." (below name)}]
        ${toml (below name) value.${name}}'') (builtins.filter isTable names)
    );

  packages = {
    inherit lib;
    stdenv.hostPlatform.system = system;
    callPackage =
      file: given:
      let
        make = import file;
      in
      make (builtins.intersectAttrs (builtins.functionArgs make) packages // given);

    perl = here "perl";
    tmux = here "tmux";
    # Of these it is only tested that the flake names them rightly.
    cargo = here "cargo";
    cargo-deny = here "cargo-deny";
    clippy = here "clippy-driver";
    nixfmt = here "nixfmt";
    rustc = here "rustc";
    rustfmt = here "rustfmt";
    shellcheck = here "shellcheck";
    mkShell = shell: run "shell" { inherit (shell) packages; } "";
    writeShellScriptBin = name: _: here name;
    testers.runNixOSTest = test: run test.name { inherit (test) testScript; } "";

    runCommand = run;
    formats.toml = { }: {
      type = "table";
      generate = name: value: builtins.toFile name (toml [ ] value);
    };

    # As nixpkgs', but without optimisation: what is tested is that it is built and laid out.
    rustPlatform.buildRustPackage =
      package:
      run "${package.pname}-${package.version}"
        (
          package.env
          // {
            inherit (package) src;
            CARGO_PROFILE_RELEASE_LTO = "off";
            CARGO_PROFILE_RELEASE_OPT_LEVEL = "0";
            crates = ''
              [source.crates-io]
              replace-with = "vendored"
              [source.vendored]
              directory = "${vendored}"
            '';
          }
        )
        ''
          cp -r "$src" source
          chmod -R u+w source
          cd source
          mkdir .cargo
          printf '%s' "$crates" >.cargo/config.toml
          ${package.postPatch}
          cargo build --frozen --release --bin forge
          cargo test --frozen --release ${toString package.cargoTestFlags}
          ${package.installPhase}
        '';
  };
in
packages
