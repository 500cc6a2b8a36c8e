#!/bin/bash
# Codex runs the notify command also for its own requests, with the id of a conversation that does not exist.
#
# Versions:  @openai/codex 0.171.0 and node 22.23.3 (both from npm); tmux 3.3a
# Input:     `notify` in config.toml with a command that saves its last argument; one text of the user
# Behaviour: Codex asks the model for a title of the conversation and runs the notify command for that turn too, with
#            the type `agent-turn-complete`, another thread-id, and Codex's prompt as the user's message. Nothing in
#            ~/.codex/sessions has that id, and `codex resume` says "No saved session found with ID …". A program that
#            takes the conversation's id from the last notification gets an id that it cannot resume.
# Expected:  one notification for one turn of the user.
# Seen:      saved conversation:   one text
#            not saved:            Generate a concise, single-line task title of at most 36 …
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
export HOME=$dir/home PATH=$dir/node_modules/.bin:$PATH TMUX_TMPDIR=$dir LANG=C.UTF-8
unset TMUX
mkdir -p "$HOME/.codex" "$HOME/work"
cat >"$HOME/.codex/config.toml" <<TOML
model = 'none'
model_provider = 'local'
check_for_update_on_startup = false
notify = ['$dir/notify']
[model_providers.local]
name = 'local'
base_url = 'http://127.0.0.1:8099/v1'
env_key = 'MODEL_KEY'
wire_api = 'responses'
[projects.'$HOME/work']
trust_level = 'trusted'
[analytics]
enabled = false
TOML

cat >"$dir/notify" <<'SH'
#!/bin/sh
printf '%s\n' "$1" >>"$HOME/turns"
SH
chmod +x "$dir/notify"

# A model server that answers "ok".
cat >"$dir/model.js" <<'JS'
require('http').createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const query = JSON.parse(body || '{}');
  const input = Array.isArray(query.input) ? query.input : [];
  const content = [{ type: 'output_text', text: 'ok', annotations: [] }];
  const item = { type: 'message', id: 'm', role: 'assistant', status: 'completed', content };
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

tmux -f /dev/null new-session -d -x 200 -y 50 -c "$HOME/work" -e MODEL_KEY=none codex --no-daemon
until tmux capture-pane -p | grep -q '^  none.* · [~/]'; do sleep 0.2; done
sleep 3
printf 'one text' | tmux load-buffer -b text - \; paste-buffer -p -d -b text
sleep 1
tmux send-keys Enter
for _ in $(seq 300); do
    [ ! -e "$HOME/turns" ] || [ "$(wc -l <"$HOME/turns")" -lt 2 ] || break
    sleep 0.2
done
sleep 3
# For each notification, whether the conversation is saved, and the beginning of its text.
cat >"$dir/turns.js" <<'JS'
const fs = require('fs');
const [, , home] = process.argv;
const saved = fs.readdirSync(`${home}/.codex/sessions`, { recursive: true });
for (const line of fs.readFileSync(`${home}/turns`, 'utf8').trim().split('\n')) {
  const turn = JSON.parse(line);
  const isSaved = saved.some((name) => name.includes(turn['thread-id']));
  console.log(isSaved ? 'saved conversation:  ' : 'not saved:           ', turn['input-messages'].join(' ').replace(/^(.{40,56}) .*/s, '$1 …'));
}
JS
node "$dir/turns.js" "$HOME" | sort -r | "${0%/*}/compare" "$0"
