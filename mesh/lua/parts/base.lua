-- P is the one prefix that every key of ours begins with.
local P = KEYS[1]

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The timeline with one more line: when, which state, what else. A line stays one: models' names and providers' codes are
-- texts of others.
local function stamp(timeline, now, state, detail)
  return (timeline or '') .. now .. ' ' .. state .. (detail and detail ~= '' and ' ' .. detail:gsub('%c', ' ') or '') .. '\n'
end

local function push_attempt(attempts, record)
  if not record or record == '' then return attempts or '' end
  return (attempts and attempts ~= '' and attempts .. ',' or '') .. record
end
