// SPDX-License-Identifier: Apache-2.0
// The table a reader sees.

import type { Figures, Line, Target } from './contest.ts';
import type { Spread } from './statistics.ts';

/** Three significant digits at least, no false precision. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** `4792 (4500-5010)`; one measurement has no spread. */
export function formatSpread(value: Spread | undefined): string {
  if (value === undefined) return '-';
  const { median, min, max } = value;
  if (min === max) return formatNumber(median);
  return `${formatNumber(median)} (${formatNumber(min)}-${formatNumber(max)})`;
}

function formatTarget(target: Target | undefined): string {
  if (target === undefined) return '-';
  const parts: string[] = [];
  if (target.ratio !== undefined) parts.push(`${target.ratio}x`);
  if (target.cpu !== undefined) parts.push(`CPU 1/${target.cpu}`);
  if (target.most !== undefined) parts.push(`<= ${target.most}`);
  return parts.join(', ');
}

function formatReached(isReached: boolean | undefined): string {
  if (isReached === undefined) return '-';
  return isReached ? 'yes' : 'NO';
}

function formatCpu(figures: Figures | undefined): string {
  const { cpuSPerGb: all, senderCpuSPerGb: sender, receiverCpuSPerGb: receiver } = figures ?? {};
  if (all === undefined) return '-';
  const ends = sender && receiver ? ` (${formatNumber(sender.median)}+${formatNumber(receiver.median)})` : '';
  return `${formatNumber(all.median)}${ends}`;
}

const HEAD = [
  '',
  'ours',
  'figure',
  'against',
  'figure',
  'ratio',
  'CPU s/GB',
  'theirs',
  'CPU',
  'target',
  'reached',
];

function cells(line: Line): string[] {
  return [
    `${line.title}, ${line.unit}`,
    line.ours.name,
    formatSpread(line.ours.figure),
    line.theirs?.name ?? '-',
    formatSpread(line.theirs?.figure),
    line.ratio === undefined ? '-' : `${formatSpread(line.ratio)}x`,
    formatCpu(line.ours),
    formatCpu(line.theirs),
    line.cpuRatio === undefined ? '-' : `1/${formatNumber(line.cpuRatio.median)}`,
    formatTarget(line.target),
    formatReached(line.isReached),
  ];
}

/** Columns aligned, the first to the left. */
export function formatTable(lines: readonly Line[]): string {
  const rows = [HEAD, ...lines.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map(row => row[column]!.length)));
  return rows
    .map(row =>
      row
        .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
