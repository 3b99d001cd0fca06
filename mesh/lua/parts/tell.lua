-- What every door that follows a job is to be told: collect first, then tell each door once.
local function collect(entries, doors, entry)
  for door in (doors or ''):gmatch('%S+') do
    local own = entries[door]
    if own then
      own[#own + 1] = entry
    else
      entries[door] = { entry }
    end
  end
end

-- Doors that no longer beat are told nothing. A channel that is not read is cut at 50,000 entries: whoever waits heals from the log.
-- For that reason what is pushed goes to no disk and no replica either: all of it stands in a log or a job, and is kept there.
-- (A service that has taken `set_repl` away keeps it as well.)
local function tell(entries)
  pcall(redis.set_repl, redis.REPL_NONE)
  for door, own in pairs(entries) do
    if redis.call('EXISTS', P .. 'door:' .. door) == 1 then
      local channel = P .. 'replies:' .. door
      if redis.call('RPUSH', channel, unpack(own)) > 50000 then redis.call('LTRIM', channel, -50000, -1) end
    end
  end
  pcall(redis.set_repl, redis.REPL_ALL)
end
