#!/bin/bash
# Codex treats a fast run of typed keys as a paste, and the Enter after it as part of the text.
#
# Versions:  @openai/codex 0.171.0 and node 22.23.3 (both from npm); tmux 3.3a
# Input:     a text as typed keys (tmux send-keys -l), or as one bracketed paste; then the key Enter
# Behaviour: Enter right after 40 typed keys adds a line break, and a second Enter submits the text. After 3,000
#            typed keys at once, the box shows placeholders for parts of the text (`[Pasted Content 1024 chars]`)
#            among the rest, and neither an Enter after a second nor another one submits the text. No fixed pause
#            works for every number of keys. A bracketed paste needs no pause: Codex submits texts of 40 to 20,000
#            bytes with Enter at once.
# Seen:      40 keys, Enter at once:              nothing
#            and Enter again after 2 s:           the text of 40 bytes
#            3000 keys, Enter after 1 s, and 2 s: nothing
#            a paste of 20000, Enter at once:     the text of 20000 bytes
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

# A model server that answers "ok" and records the last message of the user.
cat >"$dir/model.js" <<'JS'
const fs = require('fs');
require('http').createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const query = JSON.parse(body || '{}');
  const users = (Array.isArray(query.input) ? query.input : []).filter((item) => item.role === 'user');
  const texts = users.length ? users[users.length - 1].content.map((part) => part.text || '') : [];
  for (const text of texts.filter((text) => text.startsWith('word ')))
    fs.appendFileSync(process.argv[2], `the text of ${text.trim().length} bytes\n`);
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
node "$dir/model.js" "$dir/heard" &

tmux -f /dev/null new-session -d -x 200 -y 50 -c "$HOME/work" -e MODEL_KEY=none codex --no-daemon
until tmux capture-pane -p | grep -q '^› '; do sleep 0.2; done
sleep 3

text() { # BYTES
    printf 'word %.0s' $(seq $(($1 / 5))) | head -c $(($1 - 1))
    printf '.'
}
heard() { # SECONDS: the message that the model gets within that time
    sleep "$1"
    [ -s "$dir/heard" ] || echo nothing >"$dir/heard"
    head -n 1 "$dir/heard"
    : >"$dir/heard"
}
: >"$dir/heard"
text 20000 >"$dir/text"
tmux load-buffer -b text "$dir/text" \; paste-buffer -p -d -b text \; send-keys Enter
pasted=$(heard 4)
tmux send-keys -l "$(text 40)" \; send-keys Enter
few=$(heard 2)
tmux send-keys Enter
again=$(heard 4)
tmux send-keys -l "$(text 3000)"
sleep 1
tmux send-keys Enter
sleep 2
tmux send-keys Enter
many=$(heard 4)
echo "40 keys, Enter at once:              $few"
echo "and Enter again after 2 s:           $again"
echo "3000 keys, Enter after 1 s, and 2 s: $many"
echo "a paste of 20000, Enter at once:     $pasted"
[ "$few, $again, $many, $pasted" = 'nothing, the text of 40 bytes, nothing, the text of 20000 bytes' ]
