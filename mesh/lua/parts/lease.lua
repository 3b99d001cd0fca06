-- A queued job becomes this worker's.

-- What a worker needs of a job: {id, fence, attempt, seq, left ms, waited ms, lane, tenant, spec, request, large, stop, private, key,
-- reserved}
local function row(id, now)
  local v = redis.call('HMGET', P .. 'job:' .. id,
    'fence', 'attempt', 'deadline', 'created', 'lane', 'tenant', 'spec', 'request', 'large', 'stop', 'private', 'key',
    'reserved')
  return { id, tonumber(v[1]), tonumber(v[2]), last_event(id), v[3] - now, now - v[4], v[5], v[6], v[7], v[8] or '', v[9] or '', v[10] or '',
    v[11] or '', v[12] or '', v[13] or '' }
end

-- Lease the job to `boot` and give its row; the caller moves it from waiting:<lane> to running:<lane>. Or give nil and leave it (not
-- waiting, overdue, waiting in another lane than the one whose message this was) or close it (too often tried, not allowed here).
local function lease(id, boot, max_attempts, lane, lane_private, now)
  local key = P .. 'job:' .. id
  local v = redis.call('HMGET', key, 'state', 'deadline', 'private', 'attempt', 'fence', 'timeline', 'provider', 'model', 'lane',
    'created', 'tenant', 'spec', 'request', 'large', 'key', 'reserved')
  if v[1] ~= 'queued' or tonumber(v[2]) <= now or v[9] ~= lane then return nil end
  if v[3] == '1' and lane_private ~= '1' then
    close(id, read_job(id), 'failed', now, { reason = 'not_private' })
    return nil
  end
  if tonumber(v[4]) >= max_attempts then
    close(id, read_job(id), 'failed', now, { reason = 'worker_lost' })
    return nil
  end
  local attempt, fence = v[4] + 1, v[5] + 1
  redis.call('HSET', key, 'state', 'running', 'fence', fence, 'attempt', attempt, 'owner', boot,
    'timeline', stamp(v[6], now, 'running', v[7] .. ' ' .. v[8] .. ' ' .. attempt))
  return { id, fence, attempt, fence > 1 and last_event(id) or 0, v[2] - now, now - v[10], lane, v[11], v[12], v[13] or '', v[14] or '', '',
    v[3] or '', v[15] or '', v[16] or '' }
end
