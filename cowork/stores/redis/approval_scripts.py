"""The scripts of the Redis store for approvals; see `lua.py`.

An approval is a hash; `approvals` are those that wait, by their place, and `resolved` the others,
by when they were resolved.  A member is owner and id, with a NUL between.
"""

from __future__ import annotations

from cowork.model import APPROVALS_KEEP_S, APPROVALS_LIMIT, APPROVALS_OF_OWNER
from cowork.stores.redis.lua import PRELUDE

_KEEP_MS = round(APPROVALS_KEEP_S * 1000)

# owner, id, body
PUT_APPROVAL = f"""{PRELUDE}
local waiting = redis.call('ZRANGE', p .. 'approvals', 0, -1)
local of_owner, prefix = 0, ARGV[1] .. '\\0'
for _, each in ipairs(waiting) do
  if string.sub(each, 1, #prefix) == prefix then of_owner = of_owner + 1 end
end
if #waiting >= {APPROVALS_LIMIT} or of_owner >= {APPROVALS_OF_OWNER} then return 0 end
redis.call('HSET', p .. 'approval:' .. ARGV[2], 'body', ARGV[3], 'owner', ARGV[1])
redis.call('ZADD', p .. 'approvals', redis.call('INCR', p .. 'place'), prefix .. ARGV[2])
return 1
"""

# id, resolution, answer, body without what was asked
RESOLVE_APPROVAL = f"""{PRELUDE}
local approval = p .. 'approval:' .. ARGV[1]
local found = redis.call('HMGET', approval, 'owner', 'resolution')
if not found[1] or found[2] then return 0 end
local member = found[1] .. '\\0' .. ARGV[1]
redis.call('HSET', approval, 'resolution', ARGV[2], 'answer', ARGV[3], 'body', ARGV[4])
redis.call('PEXPIRE', approval, {_KEEP_MS})
redis.call('ZREM', p .. 'approvals', member)
redis.call('ZREMRANGEBYSCORE', p .. 'resolved', '-inf', whole(now() - {_KEEP_MS}))
redis.call('ZADD', p .. 'resolved', whole(now()), member)
return 1
"""

# id, moment
APPLY_APPROVAL = f"""{PRELUDE}
local approval = p .. 'approval:' .. ARGV[1]
if redis.call('EXISTS', approval) == 1 then
  redis.call('HDEL', approval, 'answer')
  redis.call('HSET', approval, 'applied', ARGV[2])
end
"""

# 1: those that wait; the owner and a NUL, '' for everybody's; how many
APPROVALS = f"""{PRELUDE}
local members
if ARGV[1] == '1' then members = redis.call('ZRANGE', p .. 'approvals', 0, -1)
else members = redis.call('ZREVRANGE', p .. 'resolved', 0, 9999) end
local found, most = {{}}, tonumber(ARGV[3])
for _, member in ipairs(members) do
  if #found >= most then break end
  if string.sub(member, 1, #ARGV[2]) == ARGV[2] then
    local id = string.sub(member, string.find(member, '\\0', 1, true) + 1)
    local kept = redis.call('HMGET', p .. 'approval:' .. id, 'body', 'resolution', 'answer',
      'applied')
    if kept[1] then found[#found + 1] = kept end
  end
end
return found
"""
