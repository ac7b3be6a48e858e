#include "models/recipe.h"

// Some texts, as "[;", break what toml++ 3.3 asserts about itself: with NDEBUG it would go on as if
// that could not be, without it it would abort. It throws instead, and the text is not TOML.
struct TomlReaderFailed {};
constexpr void RequireOfToml(bool condition) {
  if (!condition) throw TomlReaderFailed();
}
#undef NDEBUG
#define TOML_ASSERT(condition) RequireOfToml(static_cast<bool>(condition))
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <type_traits>

#include "engine/io/file.h"
#include "engine/io/file_kind.h"
#include "engine/io/nearest_name.h"
#include "engine/io/text.h"
#include "models/recipe_keys.h"

namespace lockstep::inline v0_1 {
namespace {

template <class T>
constexpr const char* kTypeName = "";
template <>
constexpr const char* kTypeName<std::string> = "a text, as \"name\"";
template <>
constexpr const char* kTypeName<int64_t> = "a whole number, as 16";
template <>
constexpr const char* kTypeName<double> = "a number, as 0.25";
template <>
constexpr const char* kTypeName<bool> = "true or false";
template <>
constexpr const char* kTypeName<std::vector<std::string>> =
    "a list of texts, as [\"one\", \"two\"]";
template <>
constexpr const char* kTypeName<std::vector<int64_t>> = "a list of whole numbers, as [64, 32]";
template <>
constexpr const char* kTypeName<std::vector<double>> = "a list of numbers, as [0.5, 0.25]";

template <class T>
struct ElementOf {
  using Type = void;
};
template <class T>
struct ElementOf<std::vector<T>> {
  using Type = T;
};

std::string Shown(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  return std::string(text, end);
}

Status CheckValue(const std::string& value, const KeyLimits& limits) {
  for (const std::string& choice : limits.choices) {
    if (value == choice) return Status::Ok();
  }
  return limits.choices.empty() ? Status::Ok() : UnknownChoice(value, limits.choices);
}

Status CheckValue(double value, const KeyLimits& limits) {
  if (value >= limits.least && value <= limits.most) return Status::Ok();
  const bool bounded = std::isfinite(limits.most);
  return Status::Invalid("must be " +
                         (bounded ? "between " + Shown(limits.least) + " and " + Shown(limits.most)
                                  : "at least " + Shown(limits.least)) +
                         ", not " + Shown(value));
}
Status CheckValue(int64_t value, const KeyLimits& limits) {
  return CheckValue(static_cast<double>(value), limits);
}
Status CheckValue(bool, const KeyLimits&) { return Status::Ok(); }

// Values as they were typed: dates, numbers and words are texts where a text is wanted.
class Typed {
 public:
  // `text`: what was parsed. `all`: of an override, its value, whatever the reader made of it.
  explicit Typed(std::string_view text, std::optional<std::string_view> all = std::nullopt)
      : text_(text), all_(all) {}

  // Nothing where a node is more than one value.
  std::optional<std::string> Of(const toml::node& node) const {
    if (all_) return std::string(*all_);
    if (!node.is_value()) return std::nullopt;
    const size_t begin = PlaceOf(node.source().begin), end = PlaceOf(node.source().end);
    return std::string(text_.substr(begin, end > begin ? end - begin : 0));
  }
  // For the elements of a list.
  Typed Within() const { return Typed(text_); }

 private:
  // Lines and columns count from 1, columns in characters.
  size_t PlaceOf(const toml::source_position& position) const {
    size_t at = 0;
    for (toml::source_index line = 1; line < position.line; ++line) {
      const size_t end = text_.find('\n', at);
      if (end == std::string_view::npos) return text_.size();
      at = end + 1;
    }
    for (toml::source_index column = 1; column < position.column && at < text_.size(); ++column)
      at += FirstCharacter(text_.substr(at)).size;
    return std::min(at, text_.size());
  }

  std::string_view text_;
  std::optional<std::string_view> all_;
};

template <class T>
Status ReadValue(const toml::node& node, const Typed& typed, const KeyLimits& limits, T& into) {
  using Element = typename ElementOf<T>::Type;
  const Status wrong = Status::Invalid(std::string("must be ") + kTypeName<T>);
  if constexpr (!std::is_void_v<Element>) {
    const toml::array* array = node.as_array();
    if (array == nullptr) return wrong;
    T values;
    for (const toml::node& item : *array) {
      Element value{};
      LOCKSTEP_TRY(ReadValue(item, typed.Within(), limits, value));
      values.push_back(std::move(value));
    }
    into = std::move(values);
    return Status::Ok();
  } else {
    if constexpr (std::is_same_v<T, std::string>) {
      if (const auto* text = node.as_string()) {
        into = text->get();
      } else if (std::optional<std::string> as_typed = typed.Of(node)) {
        into = std::move(*as_typed);
      } else {
        return wrong;
      }
    } else if constexpr (std::is_same_v<T, double>) {
      if (const auto* number = node.as_floating_point()) {
        into = number->get();
      } else if (const auto* whole = node.as_integer()) {
        into = static_cast<double>(whole->get());
      } else {
        return wrong;
      }
    } else if constexpr (std::is_same_v<T, bool>) {
      const auto* value = node.as_boolean();
      if (value == nullptr) return wrong;
      into = value->get();
    } else {
      const auto* value = node.as_integer();
      if (value == nullptr) return wrong;
      into = value->get();
    }
    return CheckValue(into, limits);
  }
}

std::vector<std::string> KeysOf(const Recipe& recipe) {
  std::vector<std::string> keys;
  VisitKeys(recipe, [&](const char* key, const auto&, const KeyLimits&, const char*) {
    keys.push_back(key);
  });
  return keys;
}

Status UnknownKey(const std::string& key, const Recipe& recipe) {
  std::string text = "unknown key " + Quoted(key);
  if (key.starts_with("model."))
    text += std::string(" of model.kind = \"") + KindOf(recipe.model.family) + "\"";
  Recipe other;
  for (Family& family : AllFamilies()) {
    other.model.family = std::move(family);
    const std::vector<std::string> keys = KeysOf(other);
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) continue;
    return Status::Invalid(text + "; model.kind = \"" + KindOf(other.model.family) + "\" has it");
  }
  return Status::Invalid(text + "; did you mean " + NearestName(key, KeysOf(recipe)) + "?");
}

// Sets the one key; `where` is the file and line, or the override.
Status SetKey(const std::string& key, const toml::node& node, const Typed& typed,
              const std::string& where, Recipe& recipe) {
  bool found = false;
  Status status;
  VisitKeys(recipe, [&](const char* known, auto& member, const KeyLimits& limits, const char*) {
    if (key != known) return;
    found = true;
    status = ReadValue(node, typed, limits, member);
  });
  if (!found) return UnknownKey(key, recipe).At(where);
  return status.At(where + ": " + key);
}

std::string LineOf(const std::string& name, const toml::node& node) {
  return name + ":" + std::to_string(node.source().begin.line);
}

Status ReadTable(const toml::table& table, const std::string& prefix, const Typed& typed,
                 const std::string& name, Recipe& recipe) {
  for (const auto& [key, node] : table) {
    const std::string full = prefix + std::string(key.str());
    if (const toml::table* inner = node.as_table(); inner != nullptr && prefix.empty()) {
      bool known = false;
      for (const std::string& one : KeysOf(recipe)) known = known || one.starts_with(full + ".");
      if (!known) {
        return Status::Invalid(
            LineOf(name, node) + ": unknown table [" + full +
            "]; there are data, augment, model, loss, optimizer, schedule, train and output");
      }
      LOCKSTEP_TRY(ReadTable(*inner, full + ".", typed, name, recipe));
    } else {
      LOCKSTEP_TRY(SetKey(full, node, typed, LineOf(name, node), recipe));
    }
  }
  return Status::Ok();
}

// toml++ explains over several lines; users get one.
Status ParseFailure(const std::string& name, const toml::parse_error& error) {
  return Status::Invalid(name + ":" + std::to_string(error.source().begin.line) +
                         ": not TOML: " + Quoted(std::string(error.description())));
}

// Refuses characters that toml++ 3.3 assumes away instead of reporting them: control characters,
// and letters beyond ASCII where they are neither in a string nor in a comment (no key has any).
Status CheckText(std::string_view text, const std::string& name) {
  if (const std::string_view kind = FileKind(text); !kind.empty()) {
    return Status::Invalid(name + ": not TOML: it is " + std::string(kind) +
                           "; a recipe is text in UTF-8, as train --print-recipe prints");
  }
  if (!IsUtf8(text)) return Status::Invalid(name + ": not TOML: it is not UTF-8 text");
  int64_t line = 1;
  char inside = 0;  // a quotation mark, or # for a comment
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool control =
        (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f;
    if (control || (inside == 0 && static_cast<unsigned char>(c) >= 0x80)) {
      return Status::Invalid(name + ":" + std::to_string(line) + ": not TOML: " +
                             (control ? "a control character" : "a letter that no key has"));
    }
    if (c == '\n') {
      ++line;
      if (inside == '#') inside = 0;
    } else if (inside == 0 && (c == '"' || c == '\'' || c == '#')) {
      inside = c;
    } else if (inside == '"' && c == '\\') {
      ++i;
    } else if (inside == c && c != '#') {
      inside = 0;
    }
  }
  return Status::Ok();
}

// A "key=value" from outside the file; `table` holds the value under "value".
struct Override {
  std::string key, where;
  std::string text;  // "value = ...", as it was parsed
  toml::table table;

  const toml::node& value() const { return *table.get("value"); }
  Typed typed() const {
    return Typed(text, std::string_view(text).substr(std::string_view(kBegin).size()));
  }
  static constexpr const char* kBegin = "value = ";
};

Result<Override> ParseOverride(const std::string& text) {
  const size_t equals = text.find('=');
  Override made{
      .key = text.substr(0, equals), .where = "override " + Quoted(text), .text = {}, .table = {}};
  if (equals == std::string::npos || equals == 0)
    return Status::Invalid(made.where + ": write key=value");
  const std::string value = text.substr(equals + 1);
  if (!IsUtf8(value)) return Status::Invalid(made.where + ": the value is not UTF-8 text");
  made.text = Override::kBegin + value;
  made.table.insert_or_assign("value", value);  // what is not TOML, as a bare word, is text
  if (!CheckText(value, made.where).ok()) return made;
  try {
    made.table = toml::parse(made.text);
  } catch (const TomlReaderFailed&) {
  } catch (const toml::parse_error&) {
  }
  if (made.table.size() != 1) return Status::Invalid(made.where + ": write one key=value");
  return made;
}

// model.kind decides which keys [model] has, so it is read before them. One that is not right is
// left to the reading of all keys, which says so.
void ChooseFamily(const toml::table& file, const std::vector<Override>& overrides, Recipe& recipe) {
  std::optional<std::string> kind = file["model"]["kind"].value<std::string>();
  for (const Override& one : overrides) {
    if (one.key == "model.kind") kind = one.value().value<std::string>();
  }
  std::optional<Family> family = kind ? FamilyOfKind(*kind) : std::nullopt;
  if (family) recipe.model.family = std::move(*family);
}

// What no single key can say.
Status CheckTogether(const Recipe& recipe) {
  if (ReadsFiles(recipe.data) && recipe.data.path.empty()) {
    return Status::Invalid("data.kind = \"" + recipe.data.kind +
                           "\" needs data.path; give it in the recipe, or as data.path=...");
  }
  if (recipe.data.delimiter == "none") {
    return Status::Invalid(
        "data.delimiter = \"none\": something stands between cells; give one character, \"tab\" or "
        "\"auto\" (found by looking)");
  }
  LOCKSTEP_TRY(LetterOf("data.delimiter", recipe.data.delimiter).status());
  if (recipe.data.fold > 0 && recipe.data.fold > recipe.data.folds) {
    return Status::Invalid("data.fold = " + std::to_string(recipe.data.fold) + " is none of the " +
                           std::to_string(recipe.data.folds) +
                           " folds of data.folds, which count from 1");
  }
  if (recipe.train.batch % recipe.train.micro_batches != 0) {
    return Status::Invalid("train.micro_batches = " + std::to_string(recipe.train.micro_batches) +
                           " does not divide train.batch = " + std::to_string(recipe.train.batch));
  }
  return Status::Ok();
}

}  // namespace

std::vector<std::string> AllRecipeKeys() {
  std::vector<std::string> all;
  Recipe recipe;
  for (Family& family : AllFamilies()) {
    recipe.model.family = std::move(family);
    for (std::string& key : KeysOf(recipe)) {
      if (std::find(all.begin(), all.end(), key) == all.end()) all.push_back(std::move(key));
    }
  }
  return all;
}

Result<Recipe> ParseRecipe(const std::string& given, const std::string& name,
                           std::span<const std::string> overrides) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // some editors begin files with it
  std::string_view text = given;
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  LOCKSTEP_TRY(CheckText(text, name));
  toml::table file;
  try {
    file = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    return ParseFailure(name, error);
  } catch (const TomlReaderFailed&) {
    return Status::Invalid(name + ": not TOML: look for a stray character where a key begins");
  }
  std::vector<Override> parsed;
  for (const std::string& one : overrides) {
    LOCKSTEP_TRY_ASSIGN(Override made, ParseOverride(one));
    parsed.push_back(std::move(made));
  }
  Recipe recipe;
  ChooseFamily(file, parsed, recipe);
  LOCKSTEP_TRY(ReadTable(file, "", Typed(text), name, recipe));
  for (const Override& one : parsed)
    LOCKSTEP_TRY(SetKey(one.key, one.value(), one.typed(), one.where, recipe));
  LOCKSTEP_TRY(CheckTogether(recipe).At(name));
  return recipe;
}

Result<Recipe> LoadRecipe(const std::string& path, std::span<const std::string> overrides) {
  constexpr int64_t kLargestRecipe = int64_t{1} << 20;
  LOCKSTEP_TRY_ASSIGN(const std::string text, ReadFile(path, kLargestRecipe));
  return ParseRecipe(text, path, overrides);
}

}  // namespace lockstep
