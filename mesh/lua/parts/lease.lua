-- A queued job becomes this worker's.

-- What a worker needs of a job: {id, fence, attempt, seq, left ms, waited ms, lane, tenant, spec, request, large, stop}
local function row(id, now)
  local v = redis.call('HMGET', P .. 'job:' .. id,
    'fence', 'attempt', 'seq', 'deadline', 'created', 'lane', 'tenant', 'spec', 'request', 'large', 'stop')
  return { id, tonumber(v[1]), tonumber(v[2]), tonumber(v[3]), v[4] - now, now - v[5], v[6], v[7], v[8], v[9] or '', v[10] or '', v[11] or '' }
end

-- Lease the job to `boot` and give its row; the caller moves it from waiting:<lane> to running:<lane>. Or give nil and leave it (not waiting, overdue) or close it (too often tried, not allowed
-- here).
local function lease(id, boot, max_attempts, lane_private, now)
  local key = P .. 'job:' .. id
  local v = redis.call('HMGET', key, 'state', 'deadline', 'private', 'attempt', 'fence', 'timeline', 'provider', 'model', 'lane',
    'seq', 'created', 'tenant', 'spec', 'request', 'large')
  if v[1] ~= 'queued' or tonumber(v[2]) <= now then return nil end
  if v[3] == '1' and lane_private ~= '1' then
    close(id, read_job(id), 'failed', now, { reason = 'not_private' })
    return nil
  end
  if tonumber(v[4]) >= max_attempts then
    close(id, read_job(id), 'failed', now, { reason = 'worker_lost' })
    return nil
  end
  local attempt, fence, lane = v[4] + 1, v[5] + 1, v[9]
  redis.call('HSET', key, 'state', 'running', 'fence', fence, 'attempt', attempt, 'owner', boot,
    'timeline', stamp(v[6], now, 'running', v[7] .. ' ' .. v[8] .. ' ' .. attempt))
  return { id, fence, attempt, tonumber(v[10]), v[2] - now, now - v[11], lane, v[12], v[13], v[14] or '', v[15] or '', '' }
end
