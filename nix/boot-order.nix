# A test on NixOS: the units that the module enables start at boot in their order, and so do the sessions.
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
      # A program that only the PATH of her login shell has.
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
    import json

    as_ada = "sudo -u ada XDG_RUNTIME_DIR=/run/user/1000 "

    def check():
        # multi-user.target does not wait for lingering user managers.
        machine.wait_for_unit("user@1000.service")
        machine.wait_for_unit("forge-post-boot-sessions.service", "ada")
        of_it = "FORGE_EVENT=sweep_done FORGE_EVENT=restored"
        lines = machine.succeed(f"journalctl --boot --output=json _UID=1000 {of_it}").splitlines()
        events = [json.loads(line)["FORGE_EVENT"] for line in lines]
        assert events.index("sweep_done") < events.index("restored"), events
        machine.succeed(as_ada + "forge units verify")
        machine.succeed(as_ada + "forge --json list | grep -q '\"state\": *\"running\"'")

    machine.wait_for_unit("multi-user.target")
    check()
    machine.succeed(as_ada + "forge spawn kept -- sleep 1000")
    machine.succeed(as_ada + "tmux -L dead new-session -d 'sleep 1000'")
    machine.succeed(as_ada + "sh -c 'kill -9 $(tmux -L dead display-message -p \"#{pid}\")'")
    machine.succeed("test -S /tmp/tmux-1000/dead")
    machine.shutdown()
    machine.start()
    machine.wait_for_unit("multi-user.target")
    check()
    machine.succeed(as_ada + "forge status kept")
    machine.fail("test -e /tmp/tmux-1000/dead")
  '';
}
