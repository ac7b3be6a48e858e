// Recipes as text: whole, and key by key where two differ.
#include <algorithm>
#include <charconv>
#include <utility>

#include "models/recipe_keys.h"

namespace lockstep::inline v0_1 {
namespace {

void PrintValue(const std::string& value, std::string& out) {
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      out += std::string("\\u00") + kHex[(c >> 4) & 15] + kHex[c & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}
void PrintValue(int64_t value, std::string& out) { out += std::to_string(value); }
void PrintValue(bool value, std::string& out) { out += value ? "true" : "false"; }
void PrintValue(double value, std::string& out) {
  char digits[32];
  const std::string text(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
  out += text;
  if (text.find_first_of(".en") == std::string::npos) out += ".0";
}
template <class T>
void PrintValue(const std::vector<T>& values, std::string& out) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ", ";
    PrintValue(values[i], out);
  }
  out += ']';
}

// Every key and its value, in order.
std::vector<std::pair<std::string, std::string>> Printed(const Recipe& recipe) {
  std::vector<std::pair<std::string, std::string>> all;
  VisitKeys(recipe, [&](const char* key, const auto& member, const KeyLimits&, const char*) {
    PrintValue(member, all.emplace_back(key, "").second);
  });
  return all;
}

}  // namespace

std::string PrintRecipe(const Recipe& recipe) {
  std::string out;
  std::string table;
  VisitKeys(recipe,
            [&](const char* key, const auto& member, const KeyLimits& limits, const char* meaning) {
              const std::string name = key;
              const size_t dot = name.find('.');
              if (name.substr(0, dot) != table) {
                if (!table.empty()) out += '\n';
                table = name.substr(0, dot);
                out += "[" + table + "]\n";
              }
              std::string line = name.substr(dot + 1) + " = ";
              PrintValue(member, line);
              std::string comment = meaning;
              if (!limits.choices.empty()) {
                comment += (comment.empty() ? "" : " - ") + ("one of " + Listed(limits.choices));
              }
              constexpr size_t kCommentColumn = 36;
              if (line.size() < kCommentColumn) line.resize(kCommentColumn, ' ');
              out += line + "  # " + comment + "\n";
            });
  return out;
}

std::vector<RecipeDifference> Differences(const Recipe& left, const Recipe& right) {
  const auto left_keys = Printed(left), right_keys = Printed(right);
  const auto value_in = [](const auto& keys, const std::string& key) {
    const auto found =
        std::find_if(keys.begin(), keys.end(), [&](const auto& one) { return one.first == key; });
    return found == keys.end() ? std::string() : found->second;
  };
  std::vector<RecipeDifference> differences;
  for (const auto& [key, value] : left_keys) {
    std::string other = value_in(right_keys, key);
    if (other != value)
      differences.push_back({.key = key, .left = value, .right = std::move(other)});
  }
  for (const auto& [key, value] : right_keys) {
    if (value_in(left_keys, key).empty())
      differences.push_back({.key = key, .left = "", .right = value});
  }
  return differences;
}

}  // namespace lockstep
