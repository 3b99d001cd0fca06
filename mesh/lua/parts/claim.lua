-- Shared by claim and take: a queued job becomes this worker's.

-- What a worker needs of a job: {id, fence, attempt, seq, left ms, waited ms, lane, tenant, spec, request, large}
local function row(id, now)
  local got = redis.call('HMGET', P .. 'job:' .. id,
    'fence', 'attempt', 'seq', 'deadline', 'created', 'lane', 'tenant', 'spec', 'request', 'large', 'stop')
  return { id, tonumber(got[1]), tonumber(got[2]), tonumber(got[3]), got[4] - now, now - got[5], got[6], got[7], got[8],
    got[9] or '', got[10] or '', got[11] or '' }
end

-- Lease the job to `boot`, or say nil and leave it (not waiting, overdue) or close it (too often tried, not allowed here).
local function lease(id, boot, lease_ms, max_attempts, lane_private, now)
  local job = read_job(id)
  if not job or job.state ~= 'queued' or tonumber(job.deadline) <= now then return nil end
  if job.private == '1' and lane_private ~= '1' then
    close(id, job, 'failed', now, { reason = 'not_private' })
    return nil
  end
  if tonumber(job.attempt) >= tonumber(max_attempts) then
    close(id, job, 'failed', now, { reason = 'worker_lost' })
    return nil
  end
  local attempt = job.attempt + 1
  redis.call('HSET', P .. 'job:' .. id, 'state', 'running', 'fence', job.fence + 1, 'attempt', attempt, 'owner', boot,
    'timeline', stamp(job.timeline, now, 'running', job.provider .. ' ' .. job.model .. ' ' .. attempt))
  redis.call('ZREM', P .. 'waiting:' .. job.lane, id)
  redis.call('ZADD', P .. 'running:' .. job.lane, now + lease_ms, id)
  return row(id, now)
end
