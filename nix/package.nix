# forge with its units, manual pages, completions and catalog, laid out as in the Debian package.
{
  lib,
  rustPlatform,
  tmux,
  perl,
  commit ? "",
}:
rustPlatform.buildRustPackage {
  pname = "forge";
  inherit ((lib.importTOML ../Cargo.toml).package) version;

  src = lib.cleanSourceWith {
    src = lib.cleanSource ../.;
    filter = path: _: baseNameOf path != "target";
  };
  cargoLock.lockFile = ../Cargo.lock;

  # `forge --version` shows the commit. forge uses this tmux if PATH has none, as in services of NixOS.
  env = {
    FORGE_COMMIT = commit;
    FORGE_TMUX = "${tmux}/bin/tmux";
  };

  nativeBuildInputs = [ perl ];
  postPatch = ''
    patchShebangs packaging
  '';
  # The tests in tests/machine boot machines, which a builder cannot do.
  cargoTestFlags = [ "--lib" ];

  installPhase = ''
    runHook preInstall
    packaging/install "$(find target -path '*/release/forge')" "$out"
    runHook postInstall
  '';

  meta = {
    description = "Keeps long-running tmux programs alive and harmless on a systemd machine";
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    mainProgram = "forge";
    platforms = lib.platforms.linux;
  };
}
