# `nix develop`: the tools for building and for the unit tests. `make test` boots Debian machines and installs its
# tools with apt.
{
  mkShell,
  cargo,
  clippy,
  rustc,
  rustfmt,
  cargo-deny,
  shellcheck,
  tmux,
}:
mkShell {
  packages = [
    cargo
    clippy
    rustc
    rustfmt
    cargo-deny
    shellcheck
    tmux
  ];
}
