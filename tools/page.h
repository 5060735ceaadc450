/* page.h - what the page of report is made of: escaped text, its style, its charts. */
#ifndef PAGE_H
#define PAGE_H
#include "dash.h"

#define PAGE_DATE 32         /* room for "21 Nov 2026, 13:04:05" */

/* One line of any bytes, as text of HTML and of its attributes. */
void page_text(FILE *f, const char *s, size_t width);
const char *page_date(char buf[PAGE_DATE], uint64_t ms); /* UTC, to the minute */
void page_time(FILE *f, uint64_t ms);                    /* the same in a time element */
/* The status object, in the form that a script element may hold. */
int  page_json(const dash *d, FILE *f);
void page_style(FILE *f);

/* Classes of CSS that stand for tag i in every chart, "s0" to "s5". */
unsigned page_series(size_t i);
void chart_legend(const dash *d, FILE *f, int scored);
void chart_coverage(const dash *d, FILE *f);
void chart_scores(const dash *d, FILE *f);  /* below it, on the same time axis */
void chart_burndown(const dash *d, size_t i, FILE *f);
void chart_overlap(const dash *d, size_t i, FILE *f);
void chart_bytes(const dash *d, FILE *f);
void chart_states(const vtag_cover *c, FILE *f); /* one bar */
#endif /* PAGE_H */
