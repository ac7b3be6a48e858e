// Every example of code in a header's comment or on a page compiles: they are taken from there, put
// into one file, each within what it needs around it, and given to the compiler for a look.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <vector>

namespace lockstep::inline v0_1 {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> LinesOf(const fs::path& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

struct Example {
  std::string where;  // "engine/train/network.h:3"
  std::string file;
  std::string code;
};

// What is set apart in a comment by three blanks or more, up to an empty line, where a line of it
// calls something and ends as a statement does.
std::vector<Example> InComments(const std::string& file) {
  static const std::regex kApart(R"(^\s*(?://| \*)   (.*)$)");
  static const std::regex kStatement(R"(\w\(.*;\s*(//.*|/\*.*)?$)");
  const std::vector<std::string> lines = LinesOf(fs::path(LOCKSTEP_SOURCE_DIR) / file);
  std::vector<Example> examples;
  for (size_t i = 0; i < lines.size(); ++i) {
    std::smatch apart;
    if (!std::regex_match(lines[i], apart, kApart)) continue;
    Example example{file + ":" + std::to_string(i + 1), file, ""};
    bool is_code = false;
    for (; i < lines.size() && std::regex_match(lines[i], apart, kApart); ++i) {
      const std::string line = apart[1];
      is_code = is_code || std::regex_search(line, kStatement);
      example.code += line + "\n";
    }
    if (is_code) examples.push_back(example);
  }
  return examples;
}

// ```cpp ... ``` of a page, without what it includes.
std::vector<Example> OnPage(const std::string& file) {
  std::vector<Example> examples;
  bool inside = false;
  int number = 0;
  for (const std::string& line : LinesOf(fs::path(LOCKSTEP_SOURCE_DIR) / file)) {
    ++number;
    if (line.starts_with("```")) {
      inside = line == "```cpp";
      if (inside) examples.push_back({file + ":" + std::to_string(number), file, ""});
    } else if (inside) {
      examples.back().code += (line.starts_with("#include") ? "" : line) + "\n";
    }
  }
  return examples;
}

// What stands around the examples of a header: `before` begins a function or a class.
struct Frame {
  std::string before, after;
};

const std::string kFunction = "Status Run() {\n", kEnd = "return Status::Ok();\n}\n";

const std::map<std::string, Frame>& Frames() {
  static const std::map<std::string, Frame> frames = {
      {"engine/comm/thread_ranks.h", {"void Train(Communicator&);\n" + kFunction, kEnd}},
      {"engine/data/recent_samples.h",
       {kFunction +
            "ConstTensor x, y; uint64_t step = 0; Network& net = TheNetwork(); AdamW adam;\n",
        kEnd}},
      {"engine/model.h",
       {"class Example final : public Model {\nSequential encoder_; Linear head_ = Linear(1);\n",
        "};\n"}},
      {"engine/plan/graph.h",
       {"class Example final : public Layer {\nstd::unique_ptr<Layer> body_;\n"
        "std::string kind() const override { return \"Example\"; }\n",
        "};\n"}},
      {"engine/optim/optimizer.h",
       {kFunction + "ConstTensor x, target; AdamW adam; Schedule schedule; int64_t step = 0;\n"
                    "const int64_t steps = 10; Network& net = TheNetwork();\n",
        kEnd}},
      {"engine/tensor/doubles.h",
       {kFunction + "std::vector<double> field, rates; Tensor y; Network& net = TheNetwork();\n",
        kEnd}},
      {"engine/tensor/tensor.h", {kFunction, "(void)view, (void)same;\n" + kEnd}},
      {"engine/train/generator.h",
       {kFunction + "std::vector<int32_t> prompt; Network& net = TheNetwork();\n", kEnd}},
      {"engine/train/jacobian.h",
       {kFunction + "const float* x = nullptr; float* j = nullptr; Network& net = TheNetwork();\n",
        kEnd}},
      {"engine/train/network.h",
       {kFunction + "ConstTensor x, target; const float* weights = nullptr; AdamW adam;\n"
                    "Network& net = TheNetwork();\n{\n",
        "}\n" + kEnd}},
      {"engine/train/shared_predictor.h",
       {kFunction + "ConstTensor x; Tensor y; DatasetInfo samples; Network& net = TheNetwork();\n",
        kEnd}},
      {"engine/train/summary.h", {kFunction + "Network& net = TheNetwork();\n", kEnd}},
      {"engine/train/trainer.h",
       {kFunction + "Network& net = TheNetwork(); AdamW optimizer; Loader* loader = nullptr;\n",
        kEnd}},
      {"layers/arithmetic.h",
       {"Result<Value> Run(Graph& graph, Value a, Value b) {\n", "return y;\n}\n"}},
      {"models/testing/testing.h",
       {"struct Highway final : Layer {\nexplicit Highway(Linear);\n"
        "std::string kind() const override;\nResult<Value> Build(Graph&, Value) const "
        "override;\n};\n" +
            kFunction,
        kEnd}},
      {"tools/capi/lockstep.h",
       {"int fail(const char*);\nint Run() {\n"
        "const float *x = nullptr, *targets = nullptr; double loss; float probability;\n",
        "return 0;\n}\n"}},
  };
  return frames;
}

TEST(ExamplesInTextTest, Compile) {
  const fs::path root = LOCKSTEP_SOURCE_DIR;
  std::vector<std::string> headers = {"tools/capi/lockstep.h"}, pages = {"README.md"};
  for (const char* folder : {"engine", "layers", "models"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.path().extension() == ".h")
        headers.push_back(entry.path().lexically_relative(root).generic_string());
    }
  }
  for (const auto& entry : fs::directory_iterator(root / "tools")) {
    if (entry.path().extension() == ".md")
      pages.push_back(entry.path().lexically_relative(root).generic_string());
  }
  std::ranges::sort(headers);
  std::string code =
      "#include <lockstep/lockstep.h>\n#include <lockstep/testing.h>\n"
      "#include \"tools/capi/lockstep.h\"\n"
      "#include <array>\n#include <cstdio>\n#include <memory>\n#include <optional>\n"
      "#include <string>\n#include <vector>\n"
      "using namespace lockstep;\nNetwork& TheNetwork();\n";
  for (const auto& [header, frame] : Frames()) code += "#include \"" + header + "\"\n";
  std::map<std::string, int> found;
  int number = 0;
  const auto add = [&](const Example& example, const Frame& frame) {
    // Lines are told as those of the text.
    const size_t colon = example.where.rfind(':');
    code += "namespace example_" + std::to_string(number++) + " {\n" + frame.before + "#line " +
            example.where.substr(colon + 1) + " \"" + example.file + "\"\n" + example.code +
            frame.after + "}\n";
  };
  for (const std::string& header : headers) {
    for (const Example& example : InComments(header)) {
      ++found[header];
      const auto frame = Frames().find(header);
      if (frame == Frames().end()) {
        ADD_FAILURE() << example.where
                      << ": an example that nothing compiles; say in Frames() what it needs:\n"
                      << example.code;
        continue;
      }
      add(example, frame->second);
    }
  }
  for (const auto& [header, frame] : Frames())
    EXPECT_GT(found[header], 0) << header << " has no example any more";
  int on_pages = 0;
  for (const std::string& page : pages) {
    for (const Example& example : OnPage(page)) {
      add(example, {});
      ++on_pages;
    }
  }
  EXPECT_GE(on_pages, 2);

  const fs::path folder = fs::temp_directory_path() / "lockstep_examples_in_text";
  fs::create_directories(folder);
  const fs::path source = folder / "examples.cc", log = folder / "log.txt";
  std::ofstream(source) << code;
  const std::string command =
      std::string(LOCKSTEP_CXX) +
      " -std=c++20 -fsyntax-only -Wall -Wno-return-type -Wno-unused-variable -I" LOCKSTEP_BINARY_DIR
      "/include -I" +
      root.string() + " " + source.string() + " > " + log.string() + " 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::ifstream in(log);
  const std::string said{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(said, "");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace lockstep
