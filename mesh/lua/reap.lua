#!lua flags=allow-oom
-- reap(limit, max attempts, lane …)
-- Mend what nobody else will: leases that ended (of jobs and of pulls), retries that are due, jobs past their deadline, and waiting
-- jobs whose message is lost. At most `limit` of each kind and lane a call. Safe to run from many places at once.
-- After more than 5 s without any reaper (Redis was away, or all of them), leases are left alone for 5 s, so that workers which
-- were cut off as well can renew first.
-- KEYS  reaper:clock hash · running:<lane> · waiting:<lane> · <lane> list · jobs:due · jobs:open · job:<id> and what close touches
--       pulls:open · pull:<id> · tasks.<provider> list
-- Reply {leases ended, retries rung, overdue closed, messages rung anew, pulls rung anew}
-- include base
-- include message
-- include envelope
-- include ring
-- include log
-- include tell
-- include job
-- include holds
-- include end_holds
-- include close
-- include pull

-- What happened to an attempt whose worker fell silent: sent, perhaps done, perhaps billed.
local function unknown_attempt(job)
  return cjson.encode({
    attempt = tonumber(job.attempt), provider = job.provider, model = job.model, outcome = 'unknown',
    cost_usd = job.reserved or nil, estimated = true,
  })
end

local limit, max_attempts = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = now_ms()
local clock = redis.call('HMGET', P .. 'reaper:clock', 'at', 'since')
local since = tonumber(clock[2] or '0')
if clock[1] and now - clock[1] > 5000 then since = now end
redis.call('HSET', P .. 'reaper:clock', 'at', now, 'since', since)
local ended, due, overdue, rung, pulls = 0, 0, 0, 0, 0

for i = 3, #ARGV do
  local lane = ARGV[i]
  if now - since >= 5000 then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'running:' .. lane, '-inf', now, 'LIMIT', 0, limit)) do
      local job = read_job(id)
      if not job or job.state ~= 'running' then
        redis.call('ZREM', P .. 'running:' .. lane, id)
      else
        ended = ended + 1
        local unknown = unknown_attempt(job)
        if job.stop == 'deadline' or tonumber(job.deadline) <= now then
          close(id, job, 'expired', now, { reason = 'deadline', attempt = unknown, cost = job.reserved })
        elseif job.stop then
          close(id, job, 'cancelled', now, { reason = job.stop, attempt = unknown, cost = job.reserved })
        elseif job.said == '1' or job.rerun == '0' then
          close(id, job, 'failed', now, { reason = 'outcome_unknown', attempt = unknown, cost = job.reserved })
        elseif tonumber(job.attempt) >= max_attempts then
          close(id, job, 'failed', now, { reason = 'worker_lost', attempt = unknown, cost = job.reserved })
        else
          redis.call('ZREM', P .. 'running:' .. lane, id)
          redis.call('HDEL', P .. 'job:' .. id, 'owner')
          redis.call('HSET', P .. 'job:' .. id, 'state', 'queued', 'rung', now, 'attempts', push_attempt(job.attempts, unknown),
            'timeline', stamp(job.timeline, now, 'queued', 'lease_ended'))
          ring(id, lane)
        end
      end
    end
  end
  local oldest = redis.call('LINDEX', P .. lane, -1)
  local lost
  if oldest then
    local _, number = read_message(oldest)
    lost = number and redis.call('ZRANGEBYSCORE', P .. 'waiting:' .. lane, '-inf', '(' .. number, 'LIMIT', 0, limit) or {}
  else
    lost = redis.call('ZRANGE', P .. 'waiting:' .. lane, 0, limit - 1)
  end
  for _, id in ipairs(lost) do
    local job = redis.call('HMGET', P .. 'job:' .. id, 'state', 'rung')
    if job[1] ~= 'queued' then
      redis.call('ZREM', P .. 'waiting:' .. lane, id)
    elseif now - job[2] > 5000 then
      redis.call('HSET', P .. 'job:' .. id, 'rung', now)
      ring(id, lane)
      rung = rung + 1
    end
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'jobs:due', '-inf', now, 'LIMIT', 0, limit)) do
  redis.call('ZREM', P .. 'jobs:due', id)
  local job = read_job(id)
  if job and (job.state == 'queued' or job.state == 'parked') then
    redis.call('HSET', P .. 'job:' .. id, 'state', 'queued', 'rung', now, 'timeline', stamp(job.timeline, now, 'queued', 'due'))
    ring(id, job.lane)
    due = due + 1
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'jobs:open', '-inf', now, 'LIMIT', 0, limit)) do
  local job = read_job(id)
  if not job then
    redis.call('ZREM', P .. 'jobs:open', id)
  elseif job.state == 'running' then
    -- Its worker keeps the deadline by itself; this is for one that does not. Look again in 5 s.
    redis.call('ZADD', P .. 'jobs:open', now + 5000, id)
    if not redis.call('ZSCORE', P .. 'running:' .. job.lane, id) then
      close(id, job, 'expired', now, { reason = 'deadline', attempt = unknown_attempt(job), cost = job.reserved })
      overdue = overdue + 1
    elseif not job.stop then
      redis.call('HSET', P .. 'job:' .. id, 'stop', 'deadline')
      redis.call('RPUSH', P .. 'control:' .. job.owner, id .. ' deadline')
      redis.call('PEXPIRE', P .. 'control:' .. job.owner, 60000)
    end
  else
    close(id, job, 'expired', now, { reason = 'deadline' })
    overdue = overdue + 1
  end
end

if now - since >= 5000 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'pulls:open', '-inf', now, 'LIMIT', 0, limit)) do
    local pull = redis.call('HMGET', P .. 'pull:' .. id, 'state', 'provider')
    if pull[1] == 'running' then
      ring_pull(id, pull[2], now)
      pulls = pulls + 1
    else
      redis.call('ZREM', P .. 'pulls:open', id)
    end
  end
end
return { ended, due, overdue, rung, pulls }
