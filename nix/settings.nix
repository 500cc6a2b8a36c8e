# The common part of both modules: the options that become forge.toml, and the file itself, checked by forge.
{
  flake,
  lib,
  pkgs,
  cfg,
}:
let
  toml = pkgs.formats.toml { };
in
{
  options = {
    enable = lib.mkEnableOption "forge, which keeps tmux programs alive and harmless";

    package = lib.mkOption {
      type = lib.types.package;
      default = flake.packages.${pkgs.stdenv.hostPlatform.system}.forge;
      description = "Package of forge.";
    };

    settings = lib.mkOption {
      inherit (toml) type;
      default = { };
      example = {
        sweep.protect = [ "homebase" ];
        guard.system_units = [ "postgresql" ];
      };
      description = "Contents of forge.toml, see forge.toml(5).";
    };

    sessions = lib.mkOption {
      inherit (toml) type;
      default = { };
      example.agent = {
        command = "claude --continue";
        cwd = "~/src/project";
        boot = true;
      };
      description = "Sessions in forge.toml by name, see forge.toml(5).";
    };
  };

  file =
    let
      all = cfg.settings // {
        sessions = (cfg.settings.sessions or { }) // cfg.sessions;
      };
      written = toml.generate "forge.toml" all;
    in
    # forge reads the configuration first, then exits with 3 because the builder has no user manager.
    pkgs.runCommand "forge.toml" { } ''
      status=0
      HOME=$TMPDIR XDG_RUNTIME_DIR=$TMPDIR DBUS_SESSION_BUS_ADDRESS= \
        ${cfg.package}/bin/forge --config ${written} list || status=$?
      [ "$status" = 3 ]
      cp ${written} $out
    '';

  # The units that `forge units install` enables: NixOS and home-manager do not read [Install] sections.
  wants = {
    "default.target" = [
      "forge-boot-notify.service"
      "forge-guard-watch.service"
      "forge-post-boot-sessions.service"
      "forge-session-save.service"
      "forge-tmux-socket-sweep.service"
    ];
    "timers.target" = [ "forge-tmux-socket-sweep.timer" ];
  };
}
