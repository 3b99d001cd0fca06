local PULL_LIFE_MS = 86400000

-- A pull waits for a worker of its provider: its state, its place among the open ones for as long as it is kept, its message.
local function ring_pull(id, provider, now)
  local key, queue = P .. 'pull:' .. id, 'tasks.' .. provider
  redis.call('HSET', key, 'state', 'queued')
  redis.call('PEXPIRE', key, PULL_LIFE_MS)
  redis.call('ZADD', P .. 'pulls:open', now + PULL_LIFE_MS, id)
  redis.call('LPUSH', P .. queue, envelope('workers.tasks.pull', '\\"' .. id .. '\\"', id, queue, id .. '.' .. now))
end
