-- Shared by the scripts that include it. P is the one prefix that every key of ours begins with.
local P = KEYS[1]

-- The log of a job keeps about this many events; a replay from before them is answered with `events_gone`.
local LOG_CAP = 20000
-- A reply channel that nobody reads for a while keeps this many entries; waiters heal from the log.
local CHANNEL_CAP = 50000
local CHANNEL_LIFE_MS = 60000

-- A Celery message, protocol 2, for the task workers.tasks.run(id, ring). Its body is plain JSON (no base64), so that the id
-- and the ring number can be read back from the beginning of the message.
local ENVELOPE = '{"body":"[[\\"%s\\",%d],{},{\\"callbacks\\":null,\\"errbacks\\":null,\\"chain\\":null,\\"chord\\":null}]",'
  .. '"content-encoding":"utf-8","content-type":"application/json",'
  .. '"headers":{"lang":"py","task":"workers.tasks.run","id":"%s","root_id":"%s","parent_id":null,"group":null,"argsrepr":"",'
  .. '"kwargsrepr":"","retries":0,"timelimit":[null,null],"eta":null,"expires":null,"origin":"door","ignore_result":true},'
  .. '"properties":{"correlation_id":"%s","delivery_mode":2,"delivery_info":{"exchange":"","routing_key":"%s"},"priority":0,'
  .. '"body_encoding":null,"delivery_tag":"%s.%d"}}'

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The job id and ring number of a message, also of one that kombu has put back in its own spelling.
local function read_message(message)
  local id, ring = message:match('^{"body":"%[%[\\"([%w-]+)\\",(%d+)%]')
  if id then return id, tonumber(ring) end
  local ok, decoded = pcall(cjson.decode, message)
  if not ok or type(decoded) ~= 'table' or type(decoded.body) ~= 'string' then return nil end
  id, ring = decoded.body:match('^%s*%[%s*%[%s*"([%w-]+)"%s*,%s*(%d+)')
  return id, tonumber(ring)
end

-- Queue a message for a waiting job, under the lane's next number: messages of a lane lie in the order of their numbers.
local function ring(id, lane, now)
  local number = redis.call('INCR', P .. 'ring:' .. lane)
  redis.call('ZADD', P .. 'waiting:' .. lane, number, id)
  redis.call('HSET', P .. 'job:' .. id, 'rung', now)
  redis.call('LPUSH', P .. lane, ENVELOPE:format(id, number, id, id, id, lane, id, number))
  return number
end

-- Give entries to every door that follows the job and still beats.
local function tell(doors, entries)
  for door in doors:gmatch('%S+') do
    if redis.call('EXISTS', P .. 'door:' .. door) == 1 then
      local channel = P .. 'replies:' .. door
      local length = redis.call('RPUSH', channel, unpack(entries))
      if length == #entries then
        redis.call('PEXPIRE', channel, CHANNEL_LIFE_MS)
      elseif length > CHANNEL_CAP then
        redis.call('LTRIM', channel, -CHANNEL_CAP, -1)
      end
    end
  end
end

local function stamp(timeline, now, state, detail)
  return (timeline or '') .. now .. ' ' .. state .. (detail and detail ~= '' and ' ' .. detail or '') .. '\n'
end

local function push_attempt(attempts, record)
  if not record or record == '' then return attempts or '' end
  return (attempts and attempts ~= '' and attempts .. ',' or '') .. record
end

-- What happened to an attempt whose worker fell silent: sent, perhaps done, perhaps billed.
local function unknown_attempt(job)
  return cjson.encode({
    attempt = tonumber(job.attempt), provider = job.provider, model = job.model, outcome = 'unknown',
    cost_usd = job.reserved, estimated = true,
  })
end

local JOB_FIELDS = {
  'state', 'fence', 'lane', 'tenant', 'key', 'provider', 'model', 'attempt', 'seq', 'doors', 'retention', 'holds', 'attempts',
  'timeline', 'created', 'stop', 'said', 'rerun', 'reserved', 'private', 'large', 'owner', 'deadline', 'rung',
}

local function read_job(id)
  local values = redis.call('HMGET', P .. 'job:' .. id, unpack(JOB_FIELDS))
  if not values[1] then return nil end
  local job = {}
  for i, name in ipairs(JOB_FIELDS) do job[name] = values[i] or nil end
  return job
end

local function release_holds(holds)
  for name, amount in (holds or ''):gmatch('(%S+) (%d+)\n') do
    if redis.call('DECRBY', P .. 'hold:' .. name, amount) <= 0 then redis.call('DEL', P .. 'hold:' .. name) end
  end
end

-- End a job, whatever it was doing: state, holds, indexes, one ledger row, the doors, the retention.
-- report: reason (in the timeline), sealed (the end event) or none, result, attempt, usage, cost, estimated
local function close(id, job, state, now, report)
  local key = P .. 'job:' .. id
  local seq = tonumber(job.seq or '0') + 1
  local attempts = push_attempt(job.attempts, report.attempt)
  redis.call('HSET', key, 'state', state, 'ended', now, 'seq', seq, 'attempts', attempts,
    'end', report.sealed or '', 'result', report.result or '', 'reason', report.reason or '',
    'usage', report.usage or '', 'cost', report.cost or '',
    'timeline', stamp(job.timeline, now, state, report.reason))
  redis.call('HDEL', key, 'request', 'owner', 'stop')
  if job.large == '1' then redis.call('DEL', P .. 'request:' .. id) end
  if job.state == 'running' then
    redis.call('ZREM', P .. 'running:' .. job.lane, id)
  else
    redis.call('ZREM', P .. 'waiting:' .. job.lane, id)
    redis.call('ZREM', P .. 'jobs:due', id)
  end
  redis.call('ZREM', P .. 'jobs:open', id)
  release_holds(job.holds)
  redis.call('PEXPIRE', key, job.retention)
  if seq > 1 then redis.call('PEXPIRE', P .. 'events:' .. id, job.retention) end
  redis.call('XADD', P .. 'ledger:rows', 'MAXLEN', '~', 1000000, '*', 'job', id, 'tenant', job.tenant, 'key', job.key,
    'state', state, 'provider', job.provider, 'model', job.model, 'attempts', '[' .. attempts .. ']',
    'usage', report.usage or '', 'cost_usd', report.cost or '', 'created', job.created, 'ended', now)
  tell(job.doors or '', { id .. ' ' .. seq .. '! ' .. (report.sealed or '') })
end
