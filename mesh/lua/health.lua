#!lua flags=allow-oom
-- health(failures, ratio, least, window ms, open ms, most open ms, count of lanes, lane …, count of counters, {kind, name, life ms} …,
--        {name, oks, ills, ills since the last ok, first-token ms or "", tokens per s or "", requests left or "", tokens left or "",
--         ms until both are whole again or "", ms to leave it alone} …)
-- What workers have met since their last call, taken into the shared record of a provider (`openai`) or a target (`openai/gpt-4o`),
-- and all that is known now. Which outcome means illness is the caller's business. A circuit opens after `failures` ills in a row, or
-- when the share of ills in a window with `least` outcomes reaches `ratio` (failures 0: never); it is open for a time that doubles with
-- each failed trial, and one ok after that closes it. counters: of holds, of which is told how much is taken. Sent twice, a report counts twice: it is a measurement, not an account.
-- KEYS  health hash (name → JSON) · <lane> list · pace:<lane> · holds:<owner> · window:<name>
-- Reply {now ms, {waiting, pace or false} of each lane …, {taken of each counter …}, {name, JSON …}}
-- include base
-- include holds
-- include take_holds
local failures, ratio, least, window, open_ms, most_open = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]),
  tonumber(ARGV[5]), tonumber(ARGV[6])
local lanes = tonumber(ARGV[7])
local now = now_ms()
local key = P .. 'health'

-- What is taken of a counter now; nil: it cannot be read.
local function taken_of(kind, name, life_ms, now)
  local counter, owner = name:match('^([^:]+):?(.*)$')
  local value = redis.pcall('HGET', P .. 'holds:' .. owner, counter)
  if not value then return 0 end
  if type(value) ~= 'string' then return nil end
  if kind ~= 'window' then return tonumber(value) end
  local sum, at = read_window(value)
  local slice = slice_at(now, life_ms)
  if at and at < slice then return (slide(name, sum, at, slice)) end
  return sum
end

local function smooth(old, seen)
  seen = tonumber(seen)
  return seen and (old and old * 0.7 + seen * 0.3 or seen) or old
end

local function open(record)
  record.opened = math.min((record.opened or 0) + 1, 30)
  record.open_until = now + math.min(open_ms * 2 ^ (record.opened - 1), most_open)
  record.row, record.oks, record.ills = 0, 0, 0
end

local function judge(record, oks, ills, trailing)
  if failures == 0 then
    record.open_until, record.opened = 0, 0
  elseif record.open_until > now then
    return -- what was under way when it opened says nothing new
  elseif record.open_until > 0 then
    if oks > 0 then
      record.open_until, record.opened = 0, 0
    elseif ills > 0 then
      return open(record)
    end
  end
  if now - record.since > window then record.oks, record.ills, record.since = 0, 0, now end
  record.oks, record.ills = record.oks + oks, record.ills + ills
  record.row = oks > 0 and trailing or record.row + ills
  local all = record.oks + record.ills
  if failures > 0 and ills > 0 and (record.row >= failures or (all >= least and record.ills / all >= ratio)) then open(record) end
end

local counters = tonumber(ARGV[8 + lanes])
local first = 9 + lanes + counters * 3
local at = first
while at <= #ARGV do
  local name = ARGV[at]
  local held = redis.call('HGET', key, name)
  -- Callers choose the names of models: what is known of is bounded.
  if held or redis.call('HLEN', key) < 2000 then
    local record = held and cjson.decode(held) or { row = 0, oks = 0, ills = 0, since = now, open_until = 0, alone_until = 0 }
    judge(record, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]))
    record.first_ms = smooth(record.first_ms, ARGV[at + 4])
    record.tokens_per_s = smooth(record.tokens_per_s, ARGV[at + 5])
    if ARGV[at + 8] ~= '' then
      record.requests_left, record.tokens_left = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
      record.whole_at = now + ARGV[at + 8]
    end
    if tonumber(ARGV[at + 9]) > 0 then record.alone_until = now + ARGV[at + 9] end
    record.at = now
    redis.call('HSET', key, name, cjson.encode(record))
  end
  at = at + 10
end

local reply = { now }
for i = 8, 7 + lanes do
  reply[#reply + 1] = { redis.call('LLEN', P .. ARGV[i]), redis.call('GET', P .. 'pace:' .. ARGV[i]) }
end
local all_taken = {}
for i = 9 + lanes, first - 1, 3 do
  all_taken[#all_taken + 1] = taken_of(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), now) or 0 -- one that cannot be read is told of where it is taken
end
reply[#reply + 1] = all_taken
local known = redis.call('HGETALL', key)
-- Ten minutes without a word, and it is forgotten; who brings news sweeps.
if #ARGV >= first then
  for i = 1, #known, 2 do
    local record = cjson.decode(known[i + 1])
    if now - record.at > 600000 and record.open_until <= now then redis.call('HDEL', key, known[i]) end
  end
end
reply[#reply + 1] = known
return reply
