# services.forge for NixOS: forge for the machine, and the sessions of some of its users.
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
        Users with these settings and sessions. Their user managers start at boot (lingering). Their
        ~/.config/forge/forge.toml becomes a link to /etc/forge/forge.toml, unless they already have this
        file.
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
      # Sessions find their programs as a login shell does, not in the short PATH that NixOS sets for
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
