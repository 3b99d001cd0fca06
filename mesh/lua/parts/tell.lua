-- Give entries to every door that follows the job and still beats. A channel that is not read is cut at 50,000 entries: whoever
-- waits heals from the log.
local function tell(doors, entries)
  for door in doors:gmatch('%S+') do
    if redis.call('EXISTS', P .. 'door:' .. door) == 1 then
      local channel = P .. 'replies:' .. door
      if redis.call('RPUSH', channel, unpack(entries)) > 50000 then redis.call('LTRIM', channel, -50000, -1) end
    end
  end
end
