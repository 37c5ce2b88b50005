--- conf: the window of the game.
-- SPDX-License-Identifier: MIT
function love.conf(t)
   t.identity = "moonrabbit"
   t.version = "11.4"
   t.window.title = "Moonrabbit"
   t.window.width, t.window.height = 800, 600
   t.window.resizable = true
   for _, unused in ipairs { "physics", "video", "joystick", "thread" } do t.modules[unused] = false end
   if os.getenv "MOONRABBIT_GAME_SILENT" then t.modules.audio, t.modules.sound = false, false end
end
