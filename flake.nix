{
  description = "forge keeps long-running tmux programs alive and harmless on a systemd machine";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each =
        make:
        builtins.listToAttrs (
          map (system: {
            name = system;
            value = make nixpkgs.legacyPackages.${system};
          }) systems
        );
      commit = self.shortRev or self.dirtyShortRev or "";
    in
    {
      packages = each (pkgs: rec {
        forge = pkgs.callPackage ./nix/package.nix { inherit commit; };
        default = forge;
      });

      overlays.default = final: _: {
        forge = final.callPackage ./nix/package.nix { inherit commit; };
      };

      nixosModules.default = import ./nix/nixos.nix self;
      homeModules.default = import ./nix/home-manager.nix self;

      devShells = each (pkgs: {
        default = pkgs.callPackage ./nix/shell.nix { };
      });

      formatter = each (pkgs: pkgs.nixfmt);

      checks = each (pkgs: {
        package = self.packages.${pkgs.stdenv.hostPlatform.system}.forge;
        boot-order = pkgs.callPackage ./nix/boot-order.nix { module = self.nixosModules.default; };
      });
    };
}
