# The configuration that a module generates: nix eval --impure --json FLAKE#nixosModules.default --apply
# 'import evaluated.nix { … }'
{ system, settings }:
module:
let
  lib = import ./nixpkgs/lib.nix;
  pkgs = import ./nixpkgs/packages.nix { inherit lib system; };
in
(lib.evalModules {
  modules = [
    module
    { services.forge = settings; }
  ];
  specialArgs = { inherit pkgs; };
}).config
