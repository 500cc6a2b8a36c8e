#!/bin/bash
# Codex: after a text that ends in `$WORD` or `@WORD`, Enter goes to a list of completions.
#
# Versions:  @openai/codex 0.171.0 and node 22.23.3 (both from npm); tmux 3.3a
# Input:     a bracketed paste of `word costs $and`, a second, Enter, and Enter once more; the same with
#            `word look at @notes` in a folder with notes.txt; and `word costs $and more`
# Behaviour: the word at the cursor opens a list, and the list takes the Enter. If the list has no entry ("no
#            matches"), each Enter does nothing, and the text stays in the input box. If the list has an entry, the
#            first Enter replaces the word by the entry, and the second Enter submits the changed text. One more
#            word closes the list, and Enter submits the text.
# Expected:  Enter submits the text, at least if the list has nothing to insert.
# Seen:      $and at the end:   no matches; Enter: nothing; Enter again: nothing
#            @notes at the end: Enter: nothing; Enter again: word look at notes.txt
#            with a word more:  Enter: word costs $and more
# Exit:      0 if the behaviour is unchanged.
# shellcheck disable=SC2016 # the dollar signs are part of the text
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
    fs.appendFileSync(process.argv[2], `${text.trim()}\n`);
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

heard() { # the message that the model gets within 4 s
    sleep 4
    [ -s "$dir/heard" ] || echo nothing >"$dir/heard"
    head -n 1 "$dir/heard"
    : >"$dir/heard"
}
: >"$dir/heard"
touch "$HOME/work/notes.txt"
paste() { # TEXT
    printf '%s' "$1" | tmux load-buffer -b text - \; paste-buffer -p -d -b text
    sleep 2
}
paste 'word costs $and more'
tmux send-keys Enter
more=$(heard)
paste 'word look at @notes'
tmux send-keys Enter
file=$(heard)
tmux send-keys Enter
file_again=$(heard)
paste 'word costs $and'
list=$(tmux capture-pane -p | grep -o 'no matches' || true)
tmux send-keys Enter
name=$(heard)
tmux send-keys Enter
name_again=$(heard)
printf '%s\n' "\$and at the end:   $list; Enter: $name; Enter again: $name_again" \
    "@notes at the end: Enter: $file; Enter again: $file_again" \
    "with a word more:  Enter: $more"
[ "$list, $name, $name_again" = 'no matches, nothing, nothing' ] &&
    [ "$file, $file_again" = 'nothing, word look at notes.txt' ] &&
    [ "$more" = 'word costs $and more' ]
