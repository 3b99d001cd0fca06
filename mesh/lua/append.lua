#!lua flags=allow-oom
-- append(id, fence, number of the first event, said 0|1, sealed event …)
-- Add events to a job's log and hand them to the doors that follow it. Event n has the stream id n-0, so a repeated one is skipped.
-- said: a client may have seen something of the answer after this.
-- KEYS  job:<id> · events:<id> stream · door:<boot> · replies:<boot> list of "<id> <n> <sealed>"
-- Reply "ok" | "lost" another holds the job, or nobody | why the job should stop
-- include base
-- include tell
-- The log keeps about this many events; a replay from before them is answered with `events_gone`.
local LOG_CAP = 20000
local id, first = ARGV[1], tonumber(ARGV[3])
local key = P .. 'job:' .. id
local job = redis.call('HMGET', key, 'state', 'fence', 'seq', 'doors', 'said', 'stop')
if job[1] ~= 'running' or job[2] ~= ARGV[2] then return 'lost' end
local seq = tonumber(job[3])
local entries = {}
for i = 5, #ARGV do
  local n = first + i - 5
  if n > seq then
    redis.call('XADD', P .. 'events:' .. id, 'MAXLEN', '~', LOG_CAP, n .. '-0', 'e', ARGV[i])
    entries[#entries + 1] = id .. ' ' .. n .. ' ' .. ARGV[i]
    seq = n
  end
end
if #entries > 0 then
  if ARGV[4] == '1' and job[5] ~= '1' then
    local now = now_ms()
    redis.call('HSET', key, 'seq', seq, 'said', 1,
      'timeline', stamp(redis.call('HGET', key, 'timeline'), now, 'answering', ''))
  else
    redis.call('HSET', key, 'seq', seq)
  end
  tell(job[4] or '', entries)
end
return job[6] or 'ok'
