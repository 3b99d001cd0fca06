#!lua flags=allow-oom
-- hold(id, fence, holds)
-- Take holds for a job that runs, all or none: those of a target that it did not have when it was submitted. What it has already it keeps, so
-- sent twice it takes once.
-- KEYS  job:<id> · holds:<owner> · window:<name>
-- Reply {"ok"} | {"lost"} another holds the job, or nobody | {"held", hold name, amount now, ms to wait (0: not known, -1: for ever)}
--       | {"broken", hold name} its counter cannot be read
-- include base
-- include job
-- include holds
-- include take_holds
-- include move_holds
local id = ARGV[1]
local job = read_job(id)
if not job or job.state ~= 'running' or job.fence ~= ARGV[2] then return { 'lost' } end
local now = now_ms()
local held, names = read_holds(job.holds), {}
for i = 1, #held, EACH do names[name_of(held[i + 1], held[i + 2])] = true end
local _, fresh = part_holds(read_holds(ARGV[3]), names)
local refusal = take_holds(fresh, now, job.deadline - now)
if refusal then return refusal end
if #fresh > 0 then redis.call('HSET', P .. 'job:' .. id, 'holds', join_holds(held, fresh, now)) end
return { 'ok' }
