// Opens a page in headless Chromium and says how it fared there.
#ifndef LOCKSTEP_TESTS_TOOLS_BROWSER_H_
#define LOCKSTEP_TESTS_TOOLS_BROWSER_H_

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace lockstep::inline v0_1::tools {

// Empty where there is none: such a test is skipped.
inline std::string Browser() {
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
    const std::string command = "command -v " + std::string(name) + " >/dev/null 2>&1";
    if (std::system(command.c_str()) == 0) return name;
  }
  return "";
}

struct Seen {
  int canvases = -1;       // -1: the page did not come up
  int blank_canvases = 0;  // with fewer than two colours
  int images = 0;
  int broken_images = 0;  // that show nothing
  int width = 0;          // of the window
  int overflow = 0;       // pixels by which the page is wider than its window
  std::string errors;     // of the console and of scripts, a line each
};

// `html` as a window of `width` pixels shows it. `folder` is for temporary files.
inline Seen OpenInBrowser(const std::string& html, int width, const std::filesystem::path& folder) {
  // A window of Chromium has a least width of its own; a frame has none. The script that looks at
  // the page runs after all others, and leaves what it found as the frame's text.
  const std::string look = R"(<script>
addEventListener("load", () => {
  const canvases = [...document.querySelectorAll("canvas")];
  const blank = canvases.filter((canvas) => {
    if (!canvas.width || !canvas.height) return true;
    const pixels = new Uint32Array(
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return pixels.every((pixel) => pixel === pixels[0]);
  });
  const images = [...document.querySelectorAll("img")];
  const broken = images.filter((image) => !image.complete || !image.naturalWidth || !image.width);
  parent.postMessage(`images=${images.length} broken=${broken.length} canvases=${canvases.length} blank=${blank.length} width=${innerWidth} ` +
      `overflow=${document.documentElement.scrollWidth - innerWidth} errors=${window.errors}`, "*");
});
</script></body>)";
  const std::string watch = R"(<head><script>
window.errors = "";
addEventListener("error", (event) => { window.errors += event.message + "; "; });
</script>)";
  std::string page = html;
  page.replace(page.find("<head>"), 6, watch);
  page.replace(page.rfind("</body>"), 7, look);
  std::ofstream(folder / "page.html") << page;
  std::ofstream(folder / "frame.html")
      << "<!doctype html><body><p id=seen></p><script>addEventListener('message', (e) => "
         "{ seen.textContent = e.data; });</script><iframe src=page.html style='border:0;width:"
      << width << "px;height:2000px'></iframe></body>";

  const std::string command =
      "timeout 60 " + Browser() +
      " --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --enable-logging=stderr"
      " --user-data-dir=" +
      (folder / "profile").string() +
      " --window-size=1400,2000 --virtual-time-budget=5000 --dump-dom file://" +
      (folder / "frame.html").string() + " 2>" + (folder / "browser.log").string();
  FILE* pipe = popen(command.c_str(), "r");
  std::string dom;
  std::array<char, 4096> buffer;
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    dom.append(buffer.data(), n);
  pclose(pipe);

  Seen seen;
  std::smatch match;
  if (std::regex_search(
          dom, match,
          std::regex(
              R"(images=(\d+) broken=(\d+) canvases=(\d+) blank=(\d+) width=(\d+) overflow=(-?\d+) errors=([^<]*)<)"))) {
    seen = {.canvases = std::stoi(match[3]),
            .blank_canvases = std::stoi(match[4]),
            .images = std::stoi(match[1]),
            .broken_images = std::stoi(match[2]),
            .width = std::stoi(match[5]),
            .overflow = std::stoi(match[6]),
            .errors = match[7]};
  }
  std::ifstream log(folder / "browser.log");
  for (std::string line; std::getline(log, line);) {
    if (line.find("CONSOLE") != std::string::npos) seen.errors += line + "\n";
  }
  return seen;
}

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TESTS_TOOLS_BROWSER_H_
