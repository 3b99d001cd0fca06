-- Holds as a job keeps them, while it goes from one target to another.

-- Parts a job's holds: those of these names, and the others.
local function part_holds(holds, names)
  local named, others = {}, {}
  for i = 1, #holds, EACH do
    local into = names[name_of(holds[i + 1], holds[i + 2])] and named or others
    for each = i, i + EACH - 1 do into[#into + 1] = holds[each] end
  end
  return named, others
end

-- Holds as a job keeps them. now: when they were taken, where that was later than the job was made.
local function write_holds(holds, now)
  local told = {}
  for i, each in ipairs(holds) do
    if now and i % EACH == 4 then each = ('%d@%d'):format(each, now) end
    told[i] = type(each) == 'number' and ('%d'):format(each) or cjson.encode(each)
  end
  return told
end

-- Those that a job has and those that it takes now, as it keeps them.
local function join_holds(had, taken, now)
  local told = write_holds(had)
  for _, each in ipairs(write_holds(taken, now)) do told[#told + 1] = each end
  return '[' .. table.concat(told, ',') .. ']'
end
