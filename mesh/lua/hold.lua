#!lua flags=allow-oom
-- hold(id, fence, {kind, name, amount, ceiling, unit or "-", life ms} …)
-- Take holds for a job that runs, all or none: those of a target that it did not have when it was submitted. What it has already it keeps, so
-- sent twice it takes once.
-- KEYS  job:<id> · hold:<name> · window:<name>
-- Reply {"ok"} | {"lost"} another holds the job, or nobody | {"held", hold name, amount now, ms to wait (0: not known, -1: for ever)}
--       | {"broken", hold name} its counter cannot be read
-- include base
-- include job
-- include holds
local id = ARGV[1]
local job = read_job(id)
if not job or job.state ~= 'running' or job.fence ~= ARGV[2] then return { 'lost' } end
local now = now_ms()
local fresh = ''
for i = 3, #ARGV, 6 do
  local kind, name, amount = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if part_holds(job.holds, { [name] = true }) == '' then
    local fine, taken, sum, where = pcall(take_hold, kind, name, amount, ARGV[i + 3], ARGV[i + 5], now)
    if not (fine and taken) then
      end_holds(fresh, {}, 0, true)
      return fine and { 'held', name, sum, where } or { 'broken', name }
    end
    fresh = fresh .. hold_line(kind, name, amount, ARGV[i + 4], where)
  end
end
if fresh ~= '' then redis.call('HSET', P .. 'job:' .. id, 'holds', (job.holds or '') .. fresh) end
return { 'ok' }
