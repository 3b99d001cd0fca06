#!lua flags=allow-oom
-- release(id, fence, state queued|parked, delay ms, refund 0|1, lane, provider, model, spec or "", attempt JSON or "", why,
--         undo 0|1, count of holds let go, name …, holds that it takes)
-- Give a job back: at once to the end of a lane (perhaps another target's), or after a delay. refund: the attempt does not count.
-- Where it leaves a target for another, the holds that were that target's end here, settled by what the attempts there have measured (undo:
-- as if they had never been taken), and it takes others.
-- KEYS  job:<id> · running:<lane> · waiting:<lane> · <lane> list · jobs:due zset (score = when) · holds:<owner> · window:<name>
-- Reply "ok" | "already" | "lost" | why the job should stop: finish it instead
-- include base
-- include envelope
-- include ring
-- include job
-- include holds
-- include take_holds
-- include end_holds
-- include move_holds
local id, fence, state, delay, lane = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[6]
local key = P .. 'job:' .. id
local job = read_job(id)
if not job or job.fence ~= fence then return 'lost' end
if job.state ~= 'running' then return (job.state == 'queued' or job.state == 'parked') and 'already' or 'lost' end
if job.stop then return job.stop end
local now = now_ms()
local attempts = push_attempt(job.attempts, ARGV[10])
redis.call('ZREM', P .. 'running:' .. job.lane, id)
redis.call('HDEL', key, 'owner')
redis.call('HSET', key, 'state', state, 'lane', lane, 'provider', ARGV[7], 'model', ARGV[8],
  'attempt', ARGV[5] == '1' and job.attempt - 1 or job.attempt, 'attempts', attempts, 'timeline', stamp(job.timeline, now, state, ARGV[11]))
if ARGV[9] ~= '' then redis.call('HSET', key, 'spec', ARGV[9]) end
local first = 14 + tonumber(ARGV[13])
if first > 14 then
  local names = {}
  for i = 14, first - 1 do names[ARGV[i]] = true end
  local gone, kept = part_holds(read_holds(job.holds), names)
  local measured, lost = measured_by(attempts, job.provider, job.model)
  end_holds(gone, tonumber(job.created), now, measured, lost, ARGV[12] == '1')
  local taken = read_holds(ARGV[first])
  if take_holds(taken, now, job.deadline - now) then taken = {} end
  redis.call('HSET', key, 'holds', join_holds(kept, taken, now))
end
if delay > 0 then
  redis.call('ZADD', P .. 'jobs:due', now + delay, id)
else
  redis.call('HSET', key, 'rung', now)
  ring(id, lane)
end
return 'ok'
