#!lua flags=allow-oom
-- append({id, fence, number of the first event, said 0|1, count of records, {number of its last event, sealed record} …} …)
-- Add events to the logs of jobs and hand them to the doors that follow them: one call for all that a worker has to say at once.
-- A record whose last event is n has the stream id n-0, so Redis itself refuses it a second time.
-- said: a client may have seen something of the answer after this.
-- KEYS  job:<id> · events:<id> stream · door:<boot> · replies:<boot> list of "<id> <n> <sealed>"
-- Reply for each job, in their order: "ok" | "lost" another holds the job, or nobody | why the job should stop
-- include base
-- include tell

-- The log keeps about this many records; a replay from before them is answered with `events_gone`.
local LOG_CAP = 20000
local words, entries = {}, {}
local i = 1
while i <= #ARGV do
  local id, first, count = ARGV[i], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 4])
  local key, log = P .. 'job:' .. id, P .. 'events:' .. id
  local job = redis.call('HMGET', key, 'state', 'fence', 'doors', 'said', 'stop')
  if job[1] ~= 'running' or job[2] ~= ARGV[i + 1] then
    words[#words + 1] = 'lost'
  else
    words[#words + 1] = job[5] or 'ok'
    for at = i + 5, i + 3 + 2 * count, 2 do
      local n, sealed = ARGV[at], ARGV[at + 1]
      local added = redis.pcall('XADD', log, n .. '-0', 'e', sealed)
      if type(added) == 'string' then
        collect(entries, job[3], id .. ' ' .. n .. ' ' .. sealed)
      elseif not added.err:find('equal or smaller', 1, true) then
        return added
      end
    end
    local last = ARGV[i + 3 + 2 * count]
    if math.floor(last / 1000) > math.floor((first - 1) / 1000) then redis.call('XTRIM', log, 'MAXLEN', '~', LOG_CAP) end
    if ARGV[i + 3] == '1' and job[4] ~= '1' then
      redis.call('HSET', key, 'said', 1, 'timeline', stamp(redis.call('HGET', key, 'timeline'), now_ms(), 'answering', ''))
    end
  end
  i = i + 5 + 2 * count
end
tell(entries)
return words
