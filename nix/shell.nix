# `nix develop`: what building and the unit tests need; `make test` boots Debian machines and installs
# its tools by apt.
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
