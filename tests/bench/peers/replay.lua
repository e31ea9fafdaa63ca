-- For wrk: sends the signed requests of REQUESTS, a signature, a tab and a body a line, from the one after FIRST on.
-- CLOSE=1: one per connection.
local requests, place = {}, tonumber(os.getenv("FIRST"))

function init(args)
  for line in io.lines(os.getenv("REQUESTS")) do
    local tab = line:find("\t", 1, true)
    local headers = {
      ["Content-Type"] = "application/json", ["Accept"] = "application/json", ["User-Agent"] = "Help Scout/Custom App",
      ["X-HelpScout-Signature"] = line:sub(1, tab - 1),
    }
    if os.getenv("CLOSE") == "1" then headers["Connection"] = "close" end
    requests[#requests + 1] = wrk.format("POST", "/", headers, line:sub(tab + 1))
  end
end

function request()
  place = place % #requests + 1
  return requests[place]
end
