/* page.c - text, data and style of the page of report; see page.h. */
#define _POSIX_C_SOURCE 200809L
#include "page.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Text ------------------------------------------------------------------------- */

void page_text(FILE *f, const char *s, size_t width)
{
    char *line = cli_alloc(width + 8);
    const char *p = cli_line(line, width + 8, s ? s : "", s ? strlen(s) : 0);
    for (; *p; p++) {
        switch (*p) {
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '&': fputs("&amp;", f); break;
        case '"': fputs("&quot;", f); break;
        case '\'': fputs("&#39;", f); break;
        default: fputc(*p, f);
        }
    }
    free(line);
}

const char *page_date(char buf[PAGE_DATE], uint64_t ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (!ms || ms / 1000 > 253402300799u || !gmtime_r(&s, &tm)) return strcpy(buf, "-");
    snprintf(buf, PAGE_DATE, "%d %.3s %04d, %02d:%02d", tm.tm_mday, months + 3 * (tm.tm_mon % 12),
             (tm.tm_year + 1900) % 10000, tm.tm_hour, tm.tm_min);
    return buf;
}

void page_time(FILE *f, uint64_t ms)
{
    char iso[CLI_TEXT], date[PAGE_DATE];
    if (!ms) fputs("never", f);
    else fprintf(f, "<time datetime=\"%s\">%s</time>", cli_time(iso, ms), page_date(date, ms));
}

int page_json(const dash *d, FILE *f)
{
    char *text = NULL;
    size_t n = 0, i;
    FILE *memory = open_memstream(&text, &n);
    if (!memory) return cli_nomem();
    dash_json(d, memory);
    if (fclose(memory)) return cli_nomem();
    for (i = 0; i < n; i++) { /* no end tag and no comment may start in it */
        if (text[i] == '<') fputs("\\u003c", f);
        else fputc(text[i], f);
    }
    free(text);
    return 0;
}

/* ---- Style ------------------------------------------------------------------------- */

static const char *const colours[] = {
    ":root{color-scheme:light dark;--bg:#faf9f6;--card:#fff;--ink:#1d2126;--soft:#59606a;",
    "--line:#dfdbd2;--go:#12683f;--hold:#ab2417;--warn:#7d4b00;--on:#fff;--gotint:#e8f3ec;",
    "--holdtint:#fbebe8;--warntint:#fbf1dd;--fresh:#2f7f62;--stale:#c98516;--missing:#cfcabf;",
    "--waived:#7c62a8;--s0:#2b5c9e;--s1:#b04c12;--s2:#217254;--s3:#86429c;--s4:#8a6a00;",
    "--s5:#a32d5c}",
    "@media(prefers-color-scheme:dark){:root{--bg:#14161a;--card:#1b1e23;--ink:#e9e7e2;",
    "--soft:#a5abb4;--line:#353a42;--go:#63d49d;--hold:#ff8f80;--warn:#f2b968;--on:#14161a;",
    "--gotint:#17291f;--holdtint:#321c1a;--warntint:#2e2415;--fresh:#5fc49b;--stale:#e3a743;",
    "--missing:#4a505a;--waived:#ad94dc;--s0:#82b4f2;--s1:#f3a473;--s2:#72d0a5;--s3:#d3a0ea;",
    "--s4:#dcc05a;--s5:#f394b9}}",
    NULL};

static const char *const layout[] = {
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}",
    "body{margin:0;background:var(--bg);color:var(--ink);font:400 1rem/1.5 system-ui,",
    "-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif;",
    "font-variant-numeric:tabular-nums lining-nums}",
    "main,header,footer{max-width:74rem;margin:0 auto;padding:0 1.5rem}",
    "header{padding-top:2.25rem}footer{padding-bottom:3rem;color:var(--soft);font-size:.875rem}",
    "h1{font-size:1.625rem;line-height:1.25;margin:0;font-weight:650;overflow-wrap:anywhere}",
    "h2{font-size:1.125rem;margin:0 0 .75rem;font-weight:650}",
    "h2 .no{color:var(--soft);font-weight:400;margin-right:.5rem}",
    "h3{font-size:1rem;margin:0 0 .5rem;font-weight:600;overflow-wrap:anywhere}",
    "section{margin:2.5rem 0 0;padding-top:1.25rem;border-top:1px solid var(--line)}",
    "p{margin:.25rem 0 .75rem;max-width:46rem}.soft{color:var(--soft)}",
    ".facts{display:flex;flex-wrap:wrap;gap:.25rem 1.75rem;margin:.75rem 0 0;padding:0;",
    "list-style:none;color:var(--soft)}.facts b{color:var(--ink);font-weight:600}",
    ".grid{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}",
    ".card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem 1.25rem;",
    "min-width:0;break-inside:avoid}.card+.card{margin-top:1rem}.grid .card+.card{margin-top:0}",
    ".verdict{border-left:.5rem solid var(--soft)}.verdict.go{border-color:var(--go);background:var(--gotint)}",
    ".verdict.hold{border-color:var(--hold);background:var(--holdtint)}",
    ".verdict.forced{border-color:var(--warn);background:var(--warntint)}",
    ".word{display:flex;flex-wrap:wrap;align-items:center;gap:.5rem .75rem;margin:0 0 .75rem}",
    ".word svg{width:2.75rem;height:2.75rem;flex:none}.word b{font-size:2.25rem;line-height:1;",
    "letter-spacing:.02em;font-weight:750}.go .word b,.go.badge{color:var(--go)}",
    ".hold .word b,.hold.badge{color:var(--hold)}.forced .word b,.warn.badge{color:var(--warn)}",
    "table+p{margin-top:.75rem}.card+p,.grid+p{margin-top:.75rem}.word>span{flex:1 1 8rem;overflow-wrap:anywhere;line-height:1.3}",
    ".badge{font-size:.8125rem;font-weight:650;border:1px solid currentColor;border-radius:1rem;",
    "padding:.05rem .5rem;white-space:nowrap}.badge.plain{color:var(--soft);font-weight:500}",
    NULL};

static const char *const tables[] = {
    "table{border-collapse:collapse;width:100%;font-size:.9375rem}",
    "th,td{padding:.4375rem .625rem;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--line)}",
    "tr:last-child>*{border-bottom:0}thead th{color:var(--soft);font-weight:500;font-size:.8125rem}",
    "tbody th{font-weight:600;overflow-wrap:anywhere;min-width:7rem}.n{text-align:right;white-space:nowrap}",
    "td.text{overflow-wrap:anywhere}.sub{display:block;color:var(--soft);font-size:.8125rem;font-weight:400}",
    "#tags th,#tags td{padding:.4375rem .4375rem}#tags tbody th{width:16rem}",
    "dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.375rem 1.25rem;margin:0}",
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}code{font:.875em ui-monospace,",
    "'DejaVu Sans Mono',monospace;background:var(--bg);border:1px solid var(--line);border-radius:.25rem;",
    "padding:.05rem .3rem;overflow-wrap:anywhere}",
    "figure{margin:0;min-width:0;break-inside:avoid}figcaption{font-weight:600;margin-bottom:.25rem}",
    "figcaption span{color:var(--soft);font-weight:400}",
    ".plot{padding:0 .75rem 0 3rem}.plot svg{display:block;width:100%;overflow:visible}",
    ".plot.flush{padding:0}svg text{font-size:.75rem;fill:var(--soft);",
    "stroke:var(--card);stroke-width:3px;stroke-linejoin:round;paint-order:stroke}svg text.ink{fill:var(--ink)}",
    ".rule{stroke:var(--line);stroke-width:1}.mark{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 3}",
    ".gate{stroke:var(--go);stroke-width:1.25;stroke-dasharray:6 4}",
    "line.late{stroke:var(--warn);stroke-width:1.25}svg text.late{fill:var(--warn)}",
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.area{stroke:none;opacity:.13}",
    ".guess{fill:none;stroke-width:2;stroke-dasharray:3 5}.hollow{fill:var(--card);stroke-width:2}",
    ".fresh{fill:var(--fresh)}.stale{fill:var(--stale)}.missing{fill:var(--missing)}.waived{fill:var(--waived)}",
    ".key{display:flex;flex-wrap:wrap;gap:.125rem 1.25rem;list-style:none;margin:.25rem 0 .5rem;padding:0;",
    "font-size:.875rem;color:var(--soft)}.key svg{width:1.75rem;height:.75rem;margin-right:.375rem}",
    ".key .dot{width:.75rem}.key svg{overflow:visible}.bar{display:block;width:100%;height:.5rem;margin-top:.375rem}",
    NULL};

static const char *const media[] = {
    "@media(max-width:62rem){main,header,footer{padding-left:1rem;padding-right:1rem}}",
    "@media screen and (max-width:62rem){",
    ".fold,.fold tbody,.fold tr,.fold th,.fold td{display:block;width:auto!important}",
    ".fold thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}",
    ".fold tr{padding:.75rem 0;border-bottom:1px solid var(--line)}.fold tr:last-child{border:0}",
    ".fold th,.fold td{border:0;padding:.125rem 0!important}.fold tbody th{margin-bottom:.25rem}",
    ".fold td[data-label]{display:flex;justify-content:space-between;gap:1rem;text-align:right}",
    ".fold td[data-label]::before{content:attr(data-label);color:var(--soft);text-align:left}",
    ".fold td.text{justify-content:flex-start;text-align:left}.fold td.text::before{flex:none;width:5.5rem}}",
    "@media screen and (min-width:32rem) and (max-width:62rem){.fold.pairs tr{display:grid;",
    "grid-template-columns:1fr 1fr;column-gap:2.5rem}.fold.pairs th{grid-column:1/-1}}",
    "@media screen and (max-width:32rem){h1{font-size:1.3125rem}header{padding-top:1.25rem}.card{padding:.875rem}",
    "section{margin-top:1.75rem}.plot{padding:0 .25rem 0 2.5rem}dl{grid-template-columns:1fr;gap:0}",
    "dd{margin-bottom:.5rem}}",
    "@media screen and (max-width:62rem){.fold.events tr{display:grid;grid-template-columns:1fr auto;",
    "column-gap:1rem}.events td[data-label]::before{content:none}.events td[data-label]{text-align:left;",
    "justify-content:flex-start}.events td:first-child{display:none}.events td.when{order:1;",
    "color:var(--soft)}.events td:nth-child(3){order:2}.events td.text{order:3;grid-column:1/-1}}",
    "@media screen and (min-width:62.01rem){.events .when{white-space:nowrap}}",
    NULL};

static const char *const print[] = {
    "@page{size:A4;margin:14mm 13mm}",
    "@media print{:root{color-scheme:light;--bg:#fff;--card:#fff;--ink:#111;--soft:#4d535c;--line:#cfcbc2;",
    "--go:#12683f;--hold:#ab2417;--warn:#7d4b00;--on:#fff;--gotint:#e8f3ec;--holdtint:#fbebe8;",
    "--warntint:#fbf1dd;--fresh:#2f7f62;--stale:#c98516;--missing:#cfcabf;--waived:#7c62a8;",
    "--s0:#2b5c9e;--s1:#b04c12;--s2:#217254;--s3:#86429c;--s4:#8a6a00;--s5:#a32d5c}",
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}body{font-size:1rem}",
    "main,header,footer{padding:0;max-width:none}header{padding-top:0}",
    "section{margin-top:1.25rem;padding-top:.75rem}h2{break-after:avoid}tr{break-inside:avoid}",
    ".events .when{white-space:nowrap}.events td.text{min-width:8rem}.card.long{break-inside:auto}h2+p{break-after:avoid}html{font-size:12px}#tags{font-size:.9em}#tags th,#tags td{padding:.3rem .25rem}",
    "#tags tbody th{width:11rem}.grid{grid-template-columns:1fr 1fr}.word b{font-size:2rem}}",
    NULL};

void page_style(FILE *f)
{
    static const char *const *const parts[] = {colours, layout, tables, media, print};
    size_t i, k;
    for (i = 0; i < sizeof parts / sizeof *parts; i++) {
        for (k = 0; parts[i][k]; k++) fputs(parts[i][k], f);
        fputc('\n', f);
    }
    for (i = 0; i < 6; i++) {
        static const char *const dashes[] = {"none", "9 3", "3 3", "9 3 3 3", "14 4", "2 5"};
        fprintf(f, ".s%zu{stroke:var(--s%zu)}.line.s%zu{stroke-dasharray:%s}"
                   ".fill.s%zu{fill:var(--s%zu)}", i, i, i, dashes[i], i, i);
    }
    fputs(".hollow.fill{fill:var(--card)}\n", f);
}
