# What both modules have in common: the options that become forge.toml, and that file, which forge itself
# has read.
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
      description = "The forge to use.";
    };

    settings = lib.mkOption {
      inherit (toml) type;
      default = { };
      example = {
        sweep.protect = [ "homebase" ];
        guard.system_units = [ "postgresql" ];
      };
      description = "What is in forge.toml, see forge.toml(5).";
    };

    sessions = lib.mkOption {
      inherit (toml) type;
      default = { };
      example.agent = {
        command = "claude --continue";
        cwd = "~/src/project";
        boot = true;
      };
      description = "The sessions of forge.toml by name, see forge.toml(5).";
    };
  };

  file =
    let
      all = cfg.settings // {
        sessions = (cfg.settings.sessions or { }) // cfg.sessions;
      };
      written = toml.generate "forge.toml" all;
    in
    # Without a user manager forge ends with 3, after it has read its configuration.
    pkgs.runCommand "forge.toml" { } ''
      status=0
      HOME=$TMPDIR XDG_RUNTIME_DIR=$TMPDIR DBUS_SESSION_BUS_ADDRESS= \
        ${cfg.package}/bin/forge --config ${written} list || status=$?
      [ "$status" = 3 ]
      cp ${written} $out
    '';

  # What `forge units install` enables: NixOS and home-manager do not read [Install] sections.
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
