-- Sends the requests of a file in turn. A line: method, path, token and body, with tabs between.

dofile(os.getenv("LOAD_LUA") .. "/report.lua")

local function parse(line)
  local method, path, token, body = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
  local headers = { Host = wrk.headers.Host or "localhost" }
  if token ~= "" then headers.Authorization = token end
  if body == "" then
    body = nil
  else
    headers["Content-Type"] = body:sub(1, 1) == "{" and "application/json" or "application/x-www-form-urlencoded"
  end
  return method, path, headers, body
end

local only = os.getenv("LOAD_ONE")
if only then
  -- wrk makes it once and asks no script again.
  wrk.method, wrk.path, wrk.headers, wrk.body = parse(io.lines(os.getenv("LOAD_FILE"))())
else
  local made, place = {}, 0
  function init()
    for _, line in ipairs(lines()) do table.insert(made, wrk.format(parse(line))) end
    -- Elsewhere in the file for each thread and run.
    math.randomseed(os.time() + number)
    place = math.random(#made)
  end
  function request()
    place = place % #made + 1
    return made[place]
  end
end
