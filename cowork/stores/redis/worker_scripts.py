"""The scripts of the Redis store for workers and what they tell each other; see `lua.py`."""

from __future__ import annotations

from cowork.stores.redis.lua import PRELUDE

# How long an inbox is kept that nobody reads, and the id of a question that was withdrawn;
# milliseconds.  Longer than any message in it counts.
INBOX_KEEP_MS = 120_000
# Messages that wait in one inbox; a sender is refused beyond that.
INBOX_LIMIT = 10_000

# The lease of a heartbeat in milliseconds, as the last argument of each script that uses it.
_LIVENESS = """
local lease = tonumber(ARGV[#ARGV])
local function is_alive(holder)
  local beat = redis.call('HGET', p .. 'holders', holder)
  return beat and now() - tonumber(beat) < lease
end
local function takes_questions(holder)
  return is_alive(holder) and redis.call('HEXISTS', p .. 'workers', holder) == 1
end
local function claim_holder(project)
  local _, _, till, holder = claim_of(project)
  if holder and now() < tonumber(till) and is_alive(holder) then return holder end
end
"""

# The worker that has a project, and when it was last asked.
_ASSIGNED = """
local function assigned_to(project)
  local held = redis.call('GET', p .. 'assigned:' .. project)
  if held then return string.match(held, '^(.*) (%d+)$') end
end
local function machine_of(holder) return string.match(holder, '^[^/]*') end
-- Of the workers on that machine, the one with the most room; its disk has what sessions work on.
local function with_room_on(machine)
  local found, most = nil, 0
  local known = redis.call('HGETALL', p .. 'workers')
  for i = 1, #known, 2 do
    local free = machine_of(known[i]) == machine and cjson.decode(known[i + 1]).free or 0
    if free > most and is_alive(known[i]) then found, most = known[i], free end
  end
  return found
end
"""

# project, candidate, milliseconds for which it stays assigned and for which it is known where it
# was; lease
ASSIGN = f"""{PRELUDE}{_LIVENESS}{_ASSIGNED}
local current, asked = assigned_to(ARGV[1])
local chosen = claim_holder(ARGV[1])
if not chosen or not takes_questions(chosen) then
  chosen = ARGV[2]
  if current then
    if now() - tonumber(asked) < tonumber(ARGV[3]) and takes_questions(current) then
      chosen = current
    elseif machine_of(chosen) ~= machine_of(current) then
      chosen = with_room_on(machine_of(current)) or chosen
    end
  end
end
redis.call('SET', p .. 'assigned:' .. ARGV[1], chosen .. ' ' .. whole(now()), 'PX', ARGV[4])
return chosen
"""

# project; lease.  Who answers it now, and whom it is assigned to; each once
FIND_WORKERS = f"""{PRELUDE}{_LIVENESS}{_ASSIGNED}
local found = {{}}
local running, assigned = claim_holder(ARGV[1]), (assigned_to(ARGV[1]))
if running then found[1] = running end
if assigned and assigned ~= running and takes_questions(assigned) then
  found[#found + 1] = assigned
end
return found
"""

# lease; of each worker its name, milliseconds since its heartbeat, and what it tells of itself
WORKERS = f"""{PRELUDE}{_LIVENESS}
local found, known = {{}}, redis.call('HGETALL', p .. 'workers')
for i = 1, #known, 2 do
  local beat = redis.call('HGET', p .. 'holders', known[i])
  if beat then
    found[#found + 1] = known[i]
    found[#found + 1] = whole(math.max(now() - tonumber(beat), 0))
    found[#found + 1] = known[i + 1]
  end
end
return found
"""

# worker, kind, body, the sender's inbox, the number of what it waits for, milliseconds for which
# it counts (0: for ever); lease
SEND = f"""{PRELUDE}{_LIVENESS}
local inbox = p .. 'inbox:' .. ARGV[1]
if not is_alive(ARGV[1]) or redis.call('XLEN', inbox) >= {INBOX_LIMIT} then return false end
local deadline = ARGV[6] == '0' and '0' or whole(now() + ARGV[6])
local entry = redis.call('XADD', inbox, '*', 'k', ARGV[2], 'b', ARGV[3], 'r', ARGV[4],
  'i', ARGV[5], 't', deadline)
redis.call('PEXPIRE', inbox, {INBOX_KEEP_MS})
return entry
"""

# machine, worker, how many it has, how many all may have (0: any number); lease
ACQUIRE_PROCESSES = f"""{PRELUDE}{_LIVENESS}
local key, total = p .. 'processes:' .. ARGV[1], tonumber(ARGV[3])
local known = redis.call('HGETALL', key)
for i = 1, #known, 2 do
  if known[i] ~= ARGV[2] then
    if is_alive(known[i]) then total = total + tonumber(known[i + 1])
    else redis.call('HDEL', key, known[i]) end
  end
end
if ARGV[4] ~= '0' and total > tonumber(ARGV[4]) then return 0 end
redis.call('HSET', key, ARGV[2], ARGV[3])
redis.call('PEXPIRE', key, {INBOX_KEEP_MS})
return 1
"""

# project, the claim's number, session, its state as it is known, its new state, whether what is
# there is replaced, what is added ('' for nothing); then the project's earlier sessions
PUT_TRANSCRIPT = f"""{PRELUDE}
if not is_newest(ARGV[1], ARGV[2]) then return 0 end
if (redis.call('HGET', p .. 'transcripts', ARGV[3]) or '') ~= ARGV[4] then return 0 end
local key = p .. 'transcript:' .. ARGV[3]
if ARGV[6] == '1' then redis.call('DEL', key) end
if ARGV[7] ~= '' then redis.call('RPUSH', key, ARGV[7]) end
redis.call('HSET', p .. 'transcripts', ARGV[3], ARGV[5])
for i = 8, #ARGV do forget_transcript(ARGV[i]) end
return 1
"""

# worker; then of each entry its id and its deadline.  Whether it is still to be done
TAKE = f"""{PRELUDE}
local found, moment = {{}}, now()
for i = 2, #ARGV, 2 do
  local there = redis.call('XDEL', p .. 'inbox:' .. ARGV[1], ARGV[i]) == 1
  local counts = ARGV[i + 1] == '0' or moment <= tonumber(ARGV[i + 1])
  found[#found + 1] = there and counts and 1 or 0
end
return found
"""

# worker, entry, the turn that it would make ('' for none).  Whether that turn was made; it will
# not be from now on
WITHDRAW = f"""{PRELUDE}
redis.call('XDEL', p .. 'inbox:' .. ARGV[1], ARGV[2])
if ARGV[3] == '' then return 0 end
if redis.call('EXISTS', p .. 'turn:' .. ARGV[3]) == 1 then return 1 end
redis.call('SET', p .. 'withdrawn:' .. ARGV[3], '1', 'PX', {INBOX_KEEP_MS})
return 0
"""
