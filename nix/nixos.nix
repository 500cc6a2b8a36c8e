# services.forge: forge for the whole machine, and the sessions of some of its users.
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
  wanted = kind: lib.filter (lib.hasSuffix ".${kind}") (lib.concatLists (lib.attrValues common.wants));
in
{
  options.services.forge = common.options // {
    users = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "ada" ];
      description = ''
        Who has these settings and sessions. Their user managers run from the boot on (lingering), and
        their ~/.config/forge/forge.toml is a link to /etc/forge/forge.toml, unless they have one of their
        own.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [
      cfg.package
      pkgs.tmux
    ];
    environment.etc."forge/forge.toml".source = common.file;

    systemd.packages = [ cfg.package ];
    systemd.user.services = lib.genAttrs (map (lib.removeSuffix ".service") (wanted "service")) (_: {
      wantedBy = [ "default.target" ];
      # What they start finds its programs where a login does, not in the short PATH that NixOS gives to
      # services.
      environment.PATH = lib.mkForce null;
    });
    systemd.user.timers = lib.genAttrs (map (lib.removeSuffix ".timer") (wanted "timer")) (_: {
      wantedBy = [ "timers.target" ];
    });

    users.users = lib.genAttrs cfg.users (_: {
      linger = true;
    });
    systemd.user.tmpfiles.users = lib.genAttrs cfg.users (_: {
      rules = [ "L %h/.config/forge/forge.toml - - - - /etc/forge/forge.toml" ];
    });
  };
}
