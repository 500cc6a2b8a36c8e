#!/bin/bash
# Codex runs the commands of all of a user's sessions in one daemon, which has the environment of the first session.
#
# Versions:  @openai/codex 0.171.0 and node 22.23.3 (both from npm); tmux 3.3a
# Input:     two sessions in two folders, each with its own SESSION variable in its environment; in the second
#            session, a command that prints $SESSION. The same with --no-daemon.
# Behaviour: the first `codex` starts a daemon that serves all later ones. The command of the second session is a
#            child of that daemon and has the first session's environment. The daemon also stays in the first
#            session's control group: limits on the second session do not reach its commands, and a stop of the
#            first session ends the second one's work. With --no-daemon the command is the session's own child.
# Expected:  a session's commands have the session's environment.
# Seen:      with the daemon: the second session's command has SESSION=first
#            --no-daemon:     the second session's command has SESSION=second
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    arch=x64
    [ "$(uname -m)" != aarch64 ] || arch=arm64
    npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error \
        @openai/codex@0.171.0 "node-linux-$arch@22.23.3" >/dev/null
    # The rest has no network but loopback. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
ip link set lo up
export PATH=$dir/node_modules/.bin:$PATH LANG=C.UTF-8
unset TMUX

# A model server that answers a message of the user with one shell command, and the command's output with "ok".
cat >"$dir/model.js" <<'JS'
require('http').createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const query = JSON.parse(body || '{}');
  const input = Array.isArray(query.input) ? query.input : [];
  const last = input[input.length - 1] || {};
  const tools = (query.tools || []).map((tool) => tool.name || tool.type);
  const name = ['exec_command', 'shell_command', 'shell'].find((tool) => tools.includes(tool));
  const command = 'printf %s "SESSION=$SESSION" >seen.new && mv seen.new seen';
  const values = { exec_command: { cmd: command }, shell_command: { command }, shell: { command: ['sh', '-c', command] } };
  const content = [{ type: 'output_text', text: 'ok', annotations: [] }];
  const item = last.role === 'user' && JSON.stringify(last).includes('run it') && name
    ? { type: 'function_call', id: 'f', call_id: 'c', name, arguments: JSON.stringify(values[name]), status: 'completed' }
    : { type: 'message', id: 'm', role: 'assistant', status: 'completed', content };
  const usage = { input_tokens: 1, output_tokens: 1, total_tokens: 2 };
  const done = { id: 'r', object: 'response', model: 'none', status: 'completed', output: [item], usage };
  const event = (type, fields) => response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  event('response.created', { response: { ...done, status: 'in_progress', output: [] } });
  event('response.output_item.done', { output_index: 0, item });
  event('response.completed', { response: done });
  response.end();
}).listen(8099, '127.0.0.1');
JS
node "$dir/model.js" &

second_prints() { # HOME [OPTION…]: what a command of the second session prints
    export HOME=$1 TMUX_TMPDIR=$1
    shift
    mkdir -p "$HOME/.codex" "$HOME/first" "$HOME/second"
    cat >"$HOME/.codex/config.toml" <<TOML
model = 'none'
model_provider = 'local'
check_for_update_on_startup = false
approval_policy = 'never'
sandbox_mode = 'danger-full-access'
[model_providers.local]
name = 'local'
base_url = 'http://127.0.0.1:8099/v1'
env_key = 'MODEL_KEY'
wire_api = 'responses'
[projects.'$HOME/first']
trust_level = 'trusted'
[projects.'$HOME/second']
trust_level = 'trusted'
[analytics]
enabled = false
TOML
    for session in first second; do
        tmux -L "$session" -f /dev/null new-session -d -x 200 -y 50 -c "$HOME/$session" \
            -e MODEL_KEY=none -e "SESSION=$session" codex "$@"
        until tmux -L "$session" capture-pane -p | grep -q '^› '; do sleep 0.2; done
        sleep 5
    done
    printf 'run it' | tmux -L second load-buffer -b text - \; paste-buffer -p -d -b text
    sleep 1
    tmux -L second send-keys Enter
    for _ in $(seq 200); do
        [ ! -e "$HOME/second/seen" ] || break
        sleep 0.1
    done
    cat "$HOME/second/seen"
}
seen="with the daemon: the second session's command has $(second_prints "$dir/daemon")
--no-daemon:     the second session's command has $(second_prints "$dir/single" --no-daemon)"
"${0%/*}/compare" "$0" <<<"$seen"
