#!/bin/bash
# Codex keeps the files of the old conversation open after /new.
#
# Versions:  @openai/codex 0.171.0 and node 22.23.3 (both from npm); tmux 3.3a
# Input:     `codex --no-daemon`: a text, the command /new, and another text
# Behaviour: Codex holds ~/.codex/thread-writer-locks/ID.lock open from the start, and the conversation's
#            sessions/…/rollout-…-ID.jsonl from the first text on. After /new, both files of the old conversation
#            stay open beside those of the new one, also after its first text. A program that looks for a process's
#            conversation in /proc/PID/fd therefore finds two. The files were still open and locked a minute later.
# Expected:  /new closes the files of the conversation that it leaves.
# Seen:      at the start:            first: lock
#            after a text:            first: lock, rollout
#            5 s after /new:          first: lock, rollout; second: lock
#            5 s after another text:  first: lock, rollout; second: lock, rollout
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
codex=$(tmux display-message -p '#{pane_pid}')
submit() { # TEXT
    printf %s "$1" | tmux load-buffer -b text - \; paste-buffer -p -d -b text
    sleep 1
    tmux send-keys Enter
}
opened() { # the conversations with open files; the order of their ids is that of their starts
    { find "/proc/$codex/fd" -lname "$HOME/.codex/*" -printf '%l\n' 2>/dev/null || true; } |
        sed -nE 's/.*\/rollout-.*-(.{36})\.jsonl$/\1 rollout/p; s/.*-locks\/(.*)\.lock$/\1 lock/p' | sort -u |
        awk '$1 == id { printf ", %s", $2; next }
            { id = $1; n++; printf "%s: %s", n == 1 ? "first" : n == 2 ? "; second" : "; another", $2 }'
}
opened_with() { # PATTERN: the same, 5 s after the pattern holds
    for _ in $(seq 300); do
        ! opened | grep -q "$1" || break
        sleep 0.2
    done
    sleep 5
    opened
}
until tmux capture-pane -p | grep -q '^  none.* · [~/]'; do sleep 0.2; done
start=$(opened_with first)
submit 'one text'
text=$(opened_with rollout)
submit /new
new=$(opened_with second)
submit 'another text'
another=$(opened_with 'second.*rollout')
"${0%/*}/compare" "$0" <<SEEN
at the start:            $start
after a text:            $text
5 s after /new:          $new
5 s after another text:  $another
SEEN
