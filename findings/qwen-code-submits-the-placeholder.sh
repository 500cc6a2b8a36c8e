#!/bin/bash
# Qwen Code submits its placeholder for a long paste instead of the pasted text.
#
# Versions:  @qwen-code/qwen-code 0.24.4 on node 22.23.3 (both from npm); tmux 3.3a and 3.5a
# Input:     a bracketed paste of 20,000 bytes in one line, then the key Enter
# Behaviour: the input box shows `[Pasted Content 20000 chars]`. If Enter comes while Qwen Code is still reading the
#            paste, the model gets those 28 bytes as the user's message, and the box is empty, as after every sent
#            message. The text is lost without a message. If Enter comes 2 s later, the model gets the text.
# Expected:  the model gets the text in both cases.
# Seen:      Enter at once:     [Pasted Content 20000 chars]
#            Enter after 2 s:   the text of 20000 bytes
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    arch=x64
    [ "$(uname -m)" != aarch64 ] || arch=arm64
    npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error \
        @qwen-code/qwen-code@0.24.4 "node-linux-$arch@22.23.3" >/dev/null
    # The rest has no network but loopback. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
ip link set lo up
export HOME=$dir/home PATH=$dir/node_modules/.bin:$PATH TMUX_TMPDIR=$dir LANG=C.UTF-8
unset TMUX
mkdir -p "$HOME/.qwen" "$HOME/work"
cat >"$HOME/.qwen/settings.json" <<'JSON'
{"$version": 3, "security": {"auth": {"selectedType": "openai"}}, "model": {"name": "none"},
 "general": {"disableAutoUpdate": true, "enableAutoUpdate": false},
 "privacy": {"usageStatisticsEnabled": false}, "telemetry": {"enabled": false}}
JSON

# A model server that answers "ok" and records the last message of the user in each conversation of the agent.
cat >"$dir/model.js" <<'JS'
const fs = require('fs');
require('http').createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const users = (JSON.parse(body || '{}').messages || []).filter((message) => message.role === 'user');
  const last = users.length ? users[users.length - 1].content : '';
  const parts = typeof last === 'string' ? [last] : last.map((part) => part.text || '');
  for (const text of parts) {
    if (text.startsWith('[Pasted')) fs.appendFileSync(process.argv[2], text + '\n');
    if (text.startsWith('word ')) fs.appendFileSync(process.argv[2], `the text of ${text.trim().length} bytes\n`);
  }
  const chunk = (delta, end) => `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1,
    model: 'none', choices: [{ index: 0, delta, finish_reason: end }] })}\n\n`;
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end(chunk({ role: 'assistant', content: 'ok' }, null) + chunk({}, 'stop') + 'data: [DONE]\n\n');
}).listen(8099, '127.0.0.1');
JS
node "$dir/model.js" "$dir/heard" &

tmux -f /dev/null new-session -d -x 200 -y 50 -c "$HOME/work" -e OPENAI_API_KEY=none \
    -e OPENAI_BASE_URL=http://127.0.0.1:8099/v1 -e OPENAI_MODEL=none qwen
until tmux capture-pane -p | grep -q 'Type your message'; do sleep 0.2; done
sleep 3

printf 'word %.0s' $(seq 4000) | head -c 19999 >"$dir/text"
printf '.' >>"$dir/text"
heard() { # SECONDS: the message that the model gets if Enter comes that much later
    : >"$dir/heard"
    tmux load-buffer -b text "$dir/text"
    tmux paste-buffer -p -d -b text
    sleep "$1"
    tmux send-keys Enter
    for _ in $(seq 100); do
        [ ! -s "$dir/heard" ] || break
        sleep 0.1
    done
    sleep 3
    head -n 1 "$dir/heard"
}
late=$(heard 2)
early=
# Enter does not always arrive in time.
for _ in 1 2 3 4 5; do
    early=$(heard 0)
    [ "$early" = 'the text of 20000 bytes' ] || break
done
echo "Enter at once:     $early"
echo "Enter after 2 s:   $late"
[ "$early" = '[Pasted Content 20000 chars]' ] && [ "$late" = 'the text of 20000 bytes' ]
