#include "tools/report/page.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "engine/base/check.h"
#include "tools/report/page_assets.h"

namespace lockstep::inline v0_1::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string Escaped(std::string_view text) {
  std::string html;
  html.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

std::string Element(std::string_view tag, std::string_view text, std::string_view kind = "") {
  std::string html = "<" + std::string(tag);
  if (!kind.empty()) html += " class=\"" + std::string(kind) + "\"";
  return html + ">" + Escaped(text) + "</" + std::string(tag) + ">";
}

// "0.4213", "98.2 %", "1.3 ms", "-": what one expects in a column of numbers.
bool LooksLikeNumber(const std::string& text) {
  if (text.empty() || text == "-") return true;
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return end != text.c_str() && (*end == '\0' || std::string_view(end).size() <= 4);
}

Json Numbers(const std::vector<double>& values, bool log) {
  Json json = Json::array();
  for (const double value : values) {
    if (std::isfinite(value) && !(log && value <= 0.0)) {
      json.push_back(value);
    } else {
      json.push_back(nullptr);
    }
  }
  return json;
}

const char* NameOf(Chart::Kind kind) {
  switch (kind) {
    case Chart::Kind::kLine:
      return "line";
    case Chart::Kind::kBar:
      return "bar";
    case Chart::Kind::kScatter:
      return "scatter";
  }
  return "";
}

Json JsonOf(const Chart& chart) {
  Json json;
  json["kind"] = NameOf(chart.kind);
  json["x_label"] = chart.x_label;
  json["y_label"] = chart.y_label;
  json["log_x"] = chart.log_x;
  json["log_y"] = chart.log_y;
  json["categories"] = chart.categories;
  json["series"] = Json::array();
  for (const Series& series : chart.series) {
    json["series"].push_back({{"name", series.name},
                              {"x", Numbers(series.x, chart.log_x)},
                              {"y", Numbers(series.y, chart.log_y)},
                              {"low", Numbers(series.low, chart.log_y)},
                              {"high", Numbers(series.high, chart.log_y)},
                              {"dashed", series.dashed}});
  }
  return json;
}

// JSON that can stand in a script element: without "<" nothing in it ends the element or opens a
// comment. Bytes that are not UTF-8 are replaced.
std::string ForScript(const Json& json) {
  std::string text;
  for (const char c : json.dump(-1, ' ', true, Json::error_handler_t::replace)) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

std::string Grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (int64_t at = static_cast<int64_t>(text.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3) {
    text.insert(static_cast<size_t>(at), 1, ',');
  }
  return text;
}

Page::Page(std::string title, std::string subtitle)
    : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

void Page::Heading(std::string_view text) { parts_.push_back({false, Element("h2", text)}); }

void Page::Text(std::string_view paragraph) { parts_.push_back({false, Element("p", paragraph)}); }

void Page::Table(std::string_view title, const std::vector<std::string>& header,
                 const std::vector<std::vector<std::string>>& rows) {
  size_t columns = header.size();
  for (const auto& row : rows) columns = std::max(columns, row.size());
  std::vector<bool> number(columns, !header.empty());
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) number[c] = number[c] && LooksLikeNumber(row[c]);
  }
  const auto kind = [&](size_t c) { return c > 0 && number[c] ? "number" : ""; };
  std::string html = "<figure class=\"card" + std::string(columns > 5 ? " wide" : "") + "\">";
  if (!title.empty()) html += Element("figcaption", title);
  html += "<div class=\"scroll\"><table>";
  if (!header.empty()) {
    html += "<thead><tr>";
    for (size_t c = 0; c < header.size(); ++c) html += Element("th", header[c], kind(c));
    html += "</tr></thead>";
  }
  html += "<tbody>";
  for (const auto& row : rows) {
    html += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) {
      html += Element(header.empty() && c == 0 ? "th" : "td", row[c],
                      row[c].size() > 32 ? "prose" : kind(c));
    }
    html += "</tr>";
  }
  parts_.push_back({true, html + "</tbody></table></div></figure>"});
}

void Page::Numbers(const std::vector<std::pair<std::string, std::string>>& numbers) {
  std::string html = "<dl class=\"numbers\">";
  for (const auto& [meaning, number] : numbers) {
    html += "<div>" + Element("dt", meaning) + Element("dd", number) + "</div>";
  }
  parts_.push_back({false, html + "</dl>"});
}

void Page::Plot(const Chart& chart) {
  for (const Series& series : chart.series) {
    const size_t points = chart.categories.empty() ? series.x.size() : chart.categories.size();
    LOCKSTEP_CHECK_EQ(series.y.size(), points);
    LOCKSTEP_CHECK_EQ(series.low.size(), series.high.size());
    LOCKSTEP_CHECK(series.low.empty() || series.low.size() == points,
                   "a band has a value for each y");
  }
  const std::string id = "chart-" + std::to_string(charts_.size());
  parts_.push_back({true, "<figure class=\"card\">" + Element("figcaption", chart.title) +
                              "<div class=\"plot\"><canvas id=\"" + id +
                              "\" role=\"img\" aria-label=\"" + Escaped(chart.title) +
                              "\"></canvas></div></figure>"});
  charts_.push_back(chart);
}

void Page::Matrix(std::string_view title, const std::vector<std::string>& rows,
                  const std::vector<std::string>& columns,
                  const std::vector<std::vector<int64_t>>& counts) {
  LOCKSTEP_CHECK_EQ(counts.size(), rows.size());
  std::string html =
      "<figure class=\"card matrix" + std::string(columns.size() > 10 ? " wide" : "") + "\">" +
      Element("figcaption", title) + "<div class=\"scroll\"><table><thead><tr><th></th>";
  for (const std::string& name : columns) html += Element("th", name);
  html += "</tr></thead><tbody>";
  for (size_t i = 0; i < rows.size(); ++i) {
    LOCKSTEP_CHECK_EQ(counts[i].size(), columns.size());
    int64_t sum = 0;
    for (const int64_t count : counts[i]) sum += count;
    html += "<tr>" + Element("th", rows[i]);
    for (size_t j = 0; j < columns.size(); ++j) {
      const double part =
          sum > 0 ? static_cast<double>(counts[i][j]) / static_cast<double>(sum) : 0.0;
      // The power lets a few errors among many be seen.
      const double share = std::pow(part, 0.4);
      char style[48];
      std::snprintf(style, sizeof style, "\" style=\"--share:%.3f\">", share);
      html += "<td class=\"";
      html += i == j ? "diagonal" : "";
      html += counts[i][j] == 0 ? " zero" : share > 0.7 ? " strong" : "";
      html += style + std::to_string(counts[i][j]) + "</td>";
    }
    html += "</tr>";
  }
  parts_.push_back({true, html + "</tbody></table></div></figure>"});
}

void Page::Pictures(std::string_view title, const std::vector<PagePicture>& pictures) {
  std::string html =
      "<figure class=\"card wide\">" + Element("figcaption", title) + "<ul class=\"pictures\">";
  for (const PagePicture& picture : pictures) {
    LOCKSTEP_CHECK(picture.uri.starts_with("data:"), "a page loads nothing");
    html += picture.wrong ? "<li class=\"wrong\">" : "<li>";
    html += "<img alt=\"" + Escaped(picture.caption) + "\" width=\"" +
            std::to_string(picture.width) + "\" height=\"" + std::to_string(picture.height) +
            "\" src=\"" + Escaped(picture.uri) + "\">";
    if (!picture.caption.empty()) html += Element("span", picture.caption);
    if (!picture.note.empty()) html += Element("small", picture.note);
    html += "</li>";
  }
  parts_.push_back({true, html + "</ul></figure>"});
}

void Page::Listing(std::string_view title, std::string_view text) {
  parts_.push_back({true, "<details class=\"card wide\">" + Element("summary", title) +
                              Element("pre", text) + "</details>"});
}

std::string Page::Html() const {
  std::string html =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  html += Element("title", title_) + "\n<style>\n" + std::string(PageStyle()) +
          "</style>\n</head>\n<body>\n<header>\n" + Element("p", "Lockstep", "brand") + "\n" +
          Element("h1", title_) + "\n";
  if (!subtitle_.empty()) html += Element("p", subtitle_, "subtitle") + "\n";
  html += "</header>\n<main>\n";
  bool in_cards = false;
  for (const Part& part : parts_) {
    if (part.card && !in_cards) html += "<div class=\"cards\">\n";
    if (!part.card && in_cards) html += "</div>\n";
    in_cards = part.card;
    html += part.html + "\n";
  }
  if (in_cards) html += "</div>\n";
  html += "</main>\n";
  if (!charts_.empty()) {
    html +=
        "<noscript><p>The plots need JavaScript; it is part of this "
        "page.</p></noscript>\n<footer>\n"
        "<details>" +
        Element("summary", "Plots by Chart.js: its copyright and licence") +
        Element("pre", ChartCopyright()) + "</details>\n</footer>\n";
    Json json = Json::array();
    for (const Chart& chart : charts_) json.push_back(JsonOf(chart));
    html += "<script type=\"application/json\" id=\"charts\">" + ForScript(json) +
            "</script>\n<script>\n" + std::string(ChartLibrary()) + "</script>\n<script>\n" +
            std::string(PageScript()) + "</script>\n";
  }
  return html + "</body>\n</html>\n";
}

}  // namespace lockstep::tools
