{
  description = "What the flake takes of nixpkgs, made of the machine's own compiler and tools, for tests without a network";

  outputs =
    { self }:
    let
      lib = import ./lib.nix;
    in
    {
      inherit lib;
      legacyPackages = builtins.listToAttrs (
        map
          (system: {
            name = system;
            value = import ./packages.nix { inherit lib system; };
          })
          [
            "x86_64-linux"
            "aarch64-linux"
          ]
      );
    };
}
