#include "tools/report/text_log.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/io/file.h"

namespace lockstep::inline v0_1::tools {

using Json = nlohmann::ordered_json;

Status WriteTextSamples(const std::string& path, const std::vector<TextSample>& samples) {
  std::string lines;
  for (const TextSample& sample : samples) {
    const Json json = {{"epoch", sample.epoch},
                       {"step", sample.step},
                       {"prompt", sample.prompt},
                       {"text", sample.text}};
    lines += json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return WriteFileAtomically(path, lines);
}

Result<std::vector<TextSample>> ReadTextSamples(const std::string& path, int64_t last_step) {
  std::vector<TextSample> samples;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return samples;
  LOCKSTEP_TRY_ASSIGN(const std::string lines, ReadFile(path));
  for (size_t begin = 0, number = 1; begin < lines.size(); ++number) {
    const size_t end = lines.find('\n', begin);
    if (end == std::string::npos) break;
    const Json json = Json::parse(lines.begin() + static_cast<std::ptrdiff_t>(begin),
                                  lines.begin() + static_cast<std::ptrdiff_t>(end), nullptr,
                                  /*allow_exceptions=*/false);
    begin = end + 1;
    const auto has = [&](const char* key, bool number_wanted) {
      return json.contains(key) &&
             (number_wanted ? json[key].is_number_integer() : json[key].is_string());
    };
    if (!json.is_object() || !has("epoch", true) || !has("step", true) || !has("prompt", false) ||
        !has("text", false)) {
      return Status::Invalid(path + ": line " + std::to_string(number) + " is no sample of text");
    }
    if (json["step"].get<int64_t>() > last_step) continue;
    samples.push_back({.epoch = json["epoch"].get<int64_t>(),
                       .step = json["step"].get<int64_t>(),
                       .prompt = json["prompt"].get<std::string>(),
                       .text = json["text"].get<std::string>()});
  }
  return samples;
}

}  // namespace lockstep::tools
