"""Totals of invoices."""

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")


def total(lines, tax_percent=0):
    """Return the total of lines (name, price as text, quantity), with tax, to the cent; half a cent goes up."""
    net = sum((Decimal(price) * quantity for _name, price, quantity in lines), Decimal(0))
    return (net * (100 + Decimal(tax_percent)) / 100).quantize(CENT, rounding=ROUND_HALF_UP)
