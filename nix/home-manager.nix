# services.forge for home-manager: forge for one user.
flake:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.forge;
  common = import ./settings.nix { inherit flake lib pkgs cfg; };
  units = "${cfg.package}/lib/systemd/user";
  # A link for each unit, and one for each unit that a target wants, as systemctl enable creates them.
  link = at: unit: {
    name = "systemd/user/${at}${unit}";
    value.source = "${units}/${unit}";
  };
  enabled = lib.concatLists (
    lib.mapAttrsToList (target: map (link "${target}.wants/")) common.wants
  );
  all = [
    "forge.slice"
    "forge-guard.slice"
    "forge-spawn@.service"
    "forge-failure-notify@.service"
    "tmux-spawn-.scope.d/forge.conf"
  ]
  ++ lib.concatLists (lib.attrValues common.wants);
in
{
  options.services.forge = common.options;

  config = lib.mkIf cfg.enable {
    home.packages = [
      cfg.package
      pkgs.tmux
    ];
    xdg.configFile = lib.listToAttrs (map (link "") all ++ enabled) // {
      "forge/forge.toml".source = common.file;
    };
  };
}
