# A machine of NixOS: what the module enables comes up with the boot, in its order, and sessions with it.
{
  testers,
  writeShellScriptBin,
  module,
}:
testers.runNixOSTest {
  name = "forge-boot-order";

  nodes.machine = {
    imports = [ module ];
    users.users.ada = {
      isNormalUser = true;
      uid = 1000;
      # A program that only her logins find.
      packages = [ (writeShellScriptBin "idle" "exec sleep 1000") ];
    };
    services.forge = {
      enable = true;
      users = [ "ada" ];
      sessions.idle = {
        command = "idle";
        boot = true;
      };
    };
  };

  testScript = ''
    as_ada = "sudo -u ada XDG_RUNTIME_DIR=/run/user/1000 "

    def since(unit, edge):
        shown = machine.succeed(as_ada + f"systemctl --user show --value -p {edge}TimestampMonotonic {unit}")
        return int(shown)

    def check():
        machine.wait_for_unit("forge-post-boot-sessions.service", "ada")
        swept = since("forge-tmux-socket-sweep.service", "ExecMainExit")
        restored = since("forge-post-boot-sessions.service", "ExecMainStart")
        assert 0 < swept <= restored, f"swept at {swept}, restored at {restored}"
        machine.succeed(as_ada + "forge units verify")
        machine.succeed(as_ada + "forge --json list | grep -q '\"state\": *\"running\"'")

    machine.wait_for_unit("multi-user.target")
    check()
    # A dead socket does not survive the next boot either.
    machine.succeed(as_ada + "forge spawn kept -- sleep 1000")
    machine.shutdown()
    machine.start()
    machine.wait_for_unit("multi-user.target")
    check()
    machine.succeed(as_ada + "forge status kept")
  '';
}
