#!/bin/bash
# Gemini CLI treats an Enter right after a bracketed paste as a line break of the text.
#
# Versions:  @google/gemini-cli 0.61.0 on node 22.23.3 (both from npm); tmux 3.3a
# Input:     a bracketed paste of 40 bytes in one line (ESC[200~ TEXT ESC[201~), then the key Enter
# Behaviour: an Enter in the first milliseconds after the end of the paste adds an empty line to the input box and
#            submits nothing, although the end of the paste is marked. An Enter one second later submits the text.
#            A program that pastes and presses Enter has to wait: after the text is shown, 30 ms were enough for
#            40 bytes, 100 ms for 600 bytes, and 300 ms for 20,000 bytes, on a busy machine with two processors.
# Expected:  Enter after the end of a bracketed paste submits the text, as in Claude Code 2.1.332 and
#            Codex 0.171.0.
# Seen:      Enter at once:     nothing
#            Enter after 1 s:   the text of 40 bytes
# Exit:      0 if the behaviour is unchanged.
set -euo pipefail

if [ "${1-}" != inside ]; then
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    arch=x64
    [ "$(uname -m)" != aarch64 ] || arch=arm64
    npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error \
        @google/gemini-cli@0.61.0 "node-linux-$arch@22.23.3" >/dev/null
    # The rest has no network but loopback. All its processes end with it.
    unshare --map-root-user --net --pid --fork --kill-child --mount-proc "$BASH" "$0" inside "$dir"
    exit
fi

dir=$2
ip link set lo up
export HOME=$dir/home PATH=$dir/node_modules/.bin:$PATH TMUX_TMPDIR=$dir LANG=C.UTF-8
unset TMUX
mkdir -p "$HOME/.gemini" "$HOME/work"
cat >"$HOME/.gemini/settings.json" <<'JSON'
{"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"disableAutoUpdate": true, "enableAutoUpdate": false},
 "privacy": {"usageStatisticsEnabled": false}, "telemetry": {"enabled": false}}
JSON
printf '{"%s": "TRUST_FOLDER"}' "$HOME/work" >"$HOME/.gemini/trustedFolders.json"

# A model server that answers "ok" and records the last message of the user.
cat >"$dir/model.js" <<'JS'
const fs = require('fs');
require('http').createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  const users = (JSON.parse(body || '{}').contents || []).filter((message) => message.role === 'user');
  const texts = users.length ? users[users.length - 1].parts.map((part) => part.text || '') : [];
  if (/streamGenerateContent/.test(request.url))
    for (const text of texts.filter((text) => text.startsWith('word ')))
      fs.appendFileSync(process.argv[2], `the text of ${text.trim().length} bytes\n`);
  const answer = { candidates: [{ content: { role: 'model', parts: [{ text: 'ok' }] }, index: 0, finishReason: 'STOP' }],
    usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 1, totalTokenCount: 2 } };
  const streams = /stream/.test(request.url);
  response.writeHead(200, { 'content-type': streams ? 'text/event-stream' : 'application/json' });
  response.end(streams ? `data: ${JSON.stringify(answer)}\n\n` : JSON.stringify(answer));
}).listen(8099, '127.0.0.1');
JS
node "$dir/model.js" "$dir/heard" &

tmux -f /dev/null new-session -d -x 200 -y 50 -c "$HOME/work" -e GEMINI_API_KEY=none \
    -e GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8099 gemini --model gemini-2.5-flash
until tmux capture-pane -p | grep -q 'Type your message'; do sleep 0.2; done
sleep 3

printf 'word %.0s' $(seq 8) | head -c 39 >"$dir/text"
printf '.' >>"$dir/text"
heard() { # SECONDS: the message that the model gets if Enter comes that much later
    : >"$dir/heard"
    tmux load-buffer -b text "$dir/text" \; paste-buffer -p -d -b text
    [ "$1" = 0 ] || sleep "$1"
    tmux send-keys Enter
    sleep 4
    [ -s "$dir/heard" ] || echo nothing >"$dir/heard"
    head -n 1 "$dir/heard"
}
late=$(heard 1)
early=$(heard 0)
echo "Enter at once:     $early"
echo "Enter after 1 s:   $late"
[ "$early" = nothing ] && [ "$late" = 'the text of 40 bytes' ]
