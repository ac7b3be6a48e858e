// The rules of the house that a compiler does not know: who may include whom, and what stays out of
// the library. The table of rooms in CONTRIBUTING.md is read here, so it cannot drift from the
// code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

namespace fs = std::filesystem;

struct SourceFile {
  std::string path;  // from the root: "engine/base/check.h"
  std::string text;  // as written
  std::string code;  // comments and literals blanked out, lines kept
};

std::string ReadText(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

// Blanks out what the compiler does not execute, so that a comment may speak of printf.
std::string WithoutCommentsAndLiterals(const std::string& text) {
  enum class In { kCode, kLine, kBlock, kLiteral, kRaw };
  std::string code = text;
  In in = In::kCode;
  char quote = '"';
  std::string raw_end;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    // An apostrophe between digits groups them: 1'000.
    const bool groups = c == '\'' && i > 0 && std::isalnum(static_cast<unsigned char>(text[i - 1]));
    if (in == In::kCode && c == '/' && (next == '/' || next == '*')) {
      in = next == '/' ? In::kLine : In::kBlock;
    } else if (in == In::kCode && c == '"' && i > 0 && text[i - 1] == 'R') {
      raw_end = ")" + text.substr(i + 1, text.find('(', i) - i - 1) + "\"";
      in = In::kRaw;
    } else if (in == In::kCode && (c == '"' || (c == '\'' && !groups))) {
      in = In::kLiteral;
      quote = c;
    } else if (in == In::kLine && c == '\n') {
      in = In::kCode;
    } else if (in == In::kBlock && c == '/' && text[i - 1] == '*' && code[i - 1] == ' ') {
      in = In::kCode;
      code[i] = ' ';
    } else if (in == In::kLiteral && c == '\\') {
      code[i] = code[i + 1] = ' ';
      ++i;
    } else if (in == In::kLiteral && c == quote) {
      in = In::kCode;
    } else if (in == In::kRaw && text.compare(i, raw_end.size(), raw_end) == 0) {
      in = In::kCode;
      i += raw_end.size() - 1;
    }
    if (in != In::kCode && code[i] != '\n') code[i] = ' ';
  }
  return code;
}

std::vector<SourceFile> SourcesUnder(const std::vector<std::string>& folders) {
  std::vector<SourceFile> files;
  const fs::path root = LOCKSTEP_SOURCE_DIR;
  for (const std::string& folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cc") continue;
      const std::string text = ReadText(entry.path());
      files.push_back({entry.path().lexically_relative(root).generic_string(), text,
                       WithoutCommentsAndLiterals(text)});
    }
  }
  std::ranges::sort(files, {}, &SourceFile::path);
  return files;
}

const std::vector<std::string> kLibrary = {"engine", "layers", "models"};
const std::vector<std::string> kEverything = {"engine", "layers", "models",
                                              "bench",  "tests",  "tools"};

bool StartsWith(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

struct Include {
  int line;
  std::string path;  // as written, without quotes
  bool angled;
};

std::vector<Include> IncludesOf(const SourceFile& file) {
  static const std::regex kPattern(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<Include> includes;
  int line = 0;
  size_t begin = 0;
  while (begin < file.text.size()) {
    size_t end = file.text.find('\n', begin);
    if (end == std::string::npos) end = file.text.size();
    ++line;
    const std::string current = file.text.substr(begin, end - begin);
    begin = end + 1;
    if (std::smatch match; std::regex_search(current, match, kPattern))
      includes.push_back({line, match[2], match[1] == "<"});
  }
  return includes;
}

// The rooms and what each may include besides itself, from the table in CONTRIBUTING.md: rows whose
// first cell is a room in backquotes and whose last cell lists rooms in backquotes.
using Rooms = std::map<std::string, std::set<std::string>>;

Rooms ReadRooms() {
  Rooms rooms;
  const std::string text = ReadText(fs::path(LOCKSTEP_SOURCE_DIR) / "CONTRIBUTING.md");
  static const std::regex kRow(R"(\n\| `([a-z/]+)` \|[^\n]*\|([^|\n]*)\|(?=\n))");
  static const std::regex kName("`([a-z/]+)`");
  for (std::sregex_iterator row(text.begin(), text.end(), kRow), end; row != end; ++row) {
    const std::string allowed = (*row)[2];
    std::set<std::string>& names = rooms[(*row)[1]];
    for (std::sregex_iterator name(allowed.begin(), allowed.end(), kName); name != end; ++name)
      names.insert((*name)[1]);
  }
  return rooms;
}

// Who may include a room may also include what that room may.
Rooms Closure(Rooms rooms) {
  for (bool grown = true; grown;) {
    grown = false;
    for (auto& [room, allowed] : rooms) {
      const auto before = allowed.size();
      for (const std::string& target : std::set<std::string>(allowed)) {
        const auto& further = rooms.at(target);
        allowed.insert(further.begin(), further.end());
      }
      grown = grown || allowed.size() > before;
    }
  }
  return rooms;
}

// "engine/base" for engine/base/check.h, "engine" for engine/layer.h, "layers" for
// layers/linear.h.
std::string RoomOf(const std::string& path, const Rooms& rooms) {
  std::string best;
  for (const auto& [room, allowed] : rooms) {
    if (StartsWith(path, room + "/") && room.size() > best.size()) best = room;
  }
  // What lies in a folder of engine/ that the table does not know is in no room.
  if (best == "engine" && std::ranges::count(path, '/') > 1) return "";
  return best;
}

TEST(IncludesTest, EveryFileIncludesOnlyRoomsThatTheTableAllows) {
  const Rooms rooms = Closure(ReadRooms());
  ASSERT_GE(rooms.size(), 15u) << "CONTRIBUTING.md has lost its table of rooms";
  for (const SourceFile& file : SourcesUnder(kEverything)) {
    const std::string room = RoomOf(file.path, rooms);
    ASSERT_NE(room, "") << file.path << " lies in no room of the table in CONTRIBUTING.md";
    for (const Include& include : IncludesOf(file)) {
      // In quotes or not, which of both is a matter of taste for other projects' headers.
      static const std::regex kOthers("^(gtest|gmock|hwy|benchmark|nlohmann)/");
      if (include.angled || std::regex_search(include.path, kOthers)) continue;
      const std::string at = file.path + ":" + std::to_string(include.line) + ": ";
      const std::string target = RoomOf(include.path, rooms);
      EXPECT_NE(target, "") << at << "\"" << include.path << "\" is not a path from the root";
      EXPECT_TRUE(target == room || rooms.at(room).contains(target))
          << at << room << " may not include " << target << " (" << include.path << ")";
    }
  }
}

// Without a cycle between rooms there is an order in which each can be read, built and tested.
TEST(IncludesTest, TheTableHasNoCycle) {
  Rooms rooms = ReadRooms();
  for (bool removed = true; removed;) {
    removed = false;
    for (auto it = rooms.begin(); it != rooms.end();) {
      const bool free = std::ranges::none_of(
          it->second, [&](const std::string& target) { return rooms.contains(target); });
      it = free ? rooms.erase(it) : std::next(it);
      removed = removed || free;
    }
  }
  for (const auto& [room, allowed] : rooms) ADD_FAILURE() << room << " is part of a cycle";
}

// A page that names a file which is not there sends its reader astray.
TEST(PagesTest, EveryFileThatTheyNameExists) {
  static const std::regex kName("[`(]([a-z_0-9]+(/[a-z_0-9]+)+\\.(h|cc|md|toml|py|html))[`)]");
  const fs::path root = LOCKSTEP_SOURCE_DIR;
  int found = 0;
  for (const std::string page : {"README.md", "CONTRIBUTING.md"}) {
    const std::string text = ReadText(root / page);
    for (std::sregex_iterator name(text.begin(), text.end(), kName), end; name != end; ++name) {
      EXPECT_TRUE(fs::exists(root / (*name)[1].str())) << page << " names " << (*name)[1];
      ++found;
    }
  }
  EXPECT_GE(found, 10);
}

// Headers of other projects that one place only may know.
TEST(IncludesTest, OtherLibrariesStayInTheirPlace) {
  struct Rule {
    std::regex header;
    std::regex allowed_in;
    const char* reason;
  };
  const std::vector<Rule> rules = {
      {std::regex("^hwy/"), std::regex("^engine/kernels/"), "Highway belongs to engine/kernels"},
      {std::regex("^(oneapi/)?tbb/"), std::regex("^engine/parallel/"),
       "TBB belongs to engine/parallel"},
      {std::regex("^mpi\\.h$"), std::regex("^engine/comm/mpi\\.cc$"), "MPI belongs to one file"},
      {std::regex("intrin\\.h$|^arm_"), std::regex("^engine/kernels/amx[^/]*\\.cc$"),
       "intrinsics belong to the AMX file"},
      {std::regex("^omp\\.h$"), std::regex("^$"), "there is no OpenMP here"},
      {std::regex("^toml\\+\\+/"), std::regex("^models/recipe[^/]*\\.cc$"),
       "TOML belongs to the recipes' reader"},
      {std::regex("^(CLI|fmt)/"), std::regex("^$"), "only the program links CLI11 and fmt"},
      {std::regex("^iostream$"), std::regex("^$"), "the library does not print"},
      {std::regex("^(future|pthread\\.h)$"), std::regex("^$"), "all parallelism is TBB's"},
  };
  for (const SourceFile& file : SourcesUnder(kLibrary)) {
    for (const Include& include : IncludesOf(file)) {
      for (const Rule& rule : rules) {
        if (!std::regex_search(include.path, rule.header)) continue;
        EXPECT_TRUE(std::regex_search(file.path, rule.allowed_in))
            << file.path << ":" << include.line << ": <" << include.path << ">: " << rule.reason;
      }
    }
  }
}

TEST(IncludesTest, TheLibraryNeitherPrintsNorEndsTheProcessNorStartsThreads) {
  struct Rule {
    std::regex code;
    std::regex allowed_in;
    const char* reason;
  };
  const std::regex nowhere("^$");
  // MpiSession::Abort, of the program alone: it is in a library of its own.
  const std::regex of_session("^engine/comm/mpi\\.cc$");
  const std::vector<Rule> rules = {
      {std::regex(R"(\bstd::(cout|cerr|clog)\b|\bstdout\b|\bstderr\b)"), of_session, "it prints"},
      {std::regex(R"(\b(printf|vprintf|puts|putchar|perror)\s*\()"), nowhere, "it prints"},
      {std::regex(R"(\b(exit|_exit|_Exit|quick_exit|abort|std::terminate)\s*\()"), of_session,
       "it ends the process"},
      {std::regex(R"(#\s*pragma\s+omp\b)"), nowhere, "it uses OpenMP"},
      // Who waits for files, which no thread of the team should do, and ranks that are threads
      // (CONTRIBUTING.md, at its end).
      {std::regex(R"(\bstd::j?thread\b|\bstd::async\b|\bpthread_create\b)"),
       std::regex(
           R"(^engine/data/(loader\.(cc|h)|waiting_threads\.h)$|^engine/comm/thread_ranks\.cc$)"),
       "it starts a thread"},
  };
  for (const SourceFile& file : SourcesUnder(kLibrary)) {
    for (const Rule& rule : rules) {
      std::smatch match;
      if (!std::regex_search(file.code, match, rule.code)) continue;
      const auto line = std::count(file.code.begin(), file.code.begin() + match.position(), '\n');
      EXPECT_TRUE(std::regex_search(file.path, rule.allowed_in))
          << file.path << ":" << line + 1 << ": " << match.str() << ": " << rule.reason;
    }
  }
}

TEST(IncludesTest, EveryHeaderIsGuardedByItsPath) {
  for (const SourceFile& file : SourcesUnder(kEverything)) {
    if (!file.path.ends_with(".h") || file.path.ends_with("-inl.h")) continue;
    std::string guard = "LOCKSTEP_";
    for (const char c : file.path)
      guard += std::isalnum(static_cast<unsigned char>(c))
                   ? static_cast<char>(std::toupper(static_cast<unsigned char>(c)))
                   : '_';
    guard += '_';
    EXPECT_THAT(file.code, testing::HasSubstr("#ifndef " + guard + "\n#define " + guard + "\n"))
        << file.path;
  }
}

// So that every header is compiled once with nothing in front of it.
TEST(IncludesTest, EverySourceIncludesItsHeaderFirst) {
  for (const SourceFile& file : SourcesUnder(kLibrary)) {
    const fs::path header = fs::path(file.path).replace_extension(".h");
    if (!file.path.ends_with(".cc") || !fs::exists(LOCKSTEP_SOURCE_DIR / header)) continue;
    const std::vector<Include> includes = IncludesOf(file);
    ASSERT_FALSE(includes.empty()) << file.path;
    EXPECT_EQ(includes.front().path, header.generic_string()) << file.path;
  }
}

// Macros have no namespace: a host's must not meet ours.
TEST(IncludesTest, EveryMacroOfAHeaderBeginsWithTheProjectsName) {
  static const std::regex kDefine(R"((?:^|\n)[ \t]*#[ \t]*define[ \t]+(\w+))");
  for (const SourceFile& file : SourcesUnder(kLibrary)) {
    // What only kernels include is not installed.
    if (!file.path.ends_with(".h") || file.path.ends_with("-inl.h") ||
        file.path == "engine/kernels/targets.h") {
      continue;
    }
    for (std::sregex_iterator define(file.code.begin(), file.code.end(), kDefine), end;
         define != end; ++define) {
      EXPECT_TRUE(StartsWith((*define)[1], "LOCKSTEP_")) << file.path << ": " << (*define)[1];
    }
  }
}

TEST(IncludesTest, CommentsAndLiteralsAreNotCode) {
  EXPECT_EQ(WithoutCommentsAndLiterals("a /* exit() */ b"), "a              b");
  EXPECT_EQ(WithoutCommentsAndLiterals("a // b\nc"), "a     \nc");
  EXPECT_EQ(WithoutCommentsAndLiterals(R"(f("\"x"); g)"), R"(f(    "); g)");
  EXPECT_EQ(WithoutCommentsAndLiterals("1'000 + 'c' + 2"), "1'000 +   ' + 2");
}

}  // namespace
}  // namespace lockstep
